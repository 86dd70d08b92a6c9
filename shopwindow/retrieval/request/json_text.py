"""Read the JSON of a request parameter."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show

MAX_JSON_BYTES = 16_384


def read_json(field: str, text: str | bytes, *, on_repeats: str = "", most_bytes: int = MAX_JSON_BYTES) -> Any:
    """Return the value that a JSON text stands for.

    Args:
        field: name of the parameter, for errors.
        text: the text, or its bytes in UTF-8.
        on_repeats: what to add to the error about a key that appears twice in an object.
        most_bytes: how long the text may be.

    Raises:
        InvalidRequest: too long, not JSON, or a key appears twice in an object.
    """

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # `json` alone would keep only the last one
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise InvalidRequest(field, f"{show(name)} appears twice{on_repeats}")
            found[name] = value
        return found

    size = len(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    if size > most_bytes:
        raise InvalidRequest(field, f"at most {most_bytes} bytes of JSON, got {size}")
    try:
        return json.loads(text, object_pairs_hook=without_repeats)
    except InvalidRequest:
        raise
    except (ValueError, RecursionError) as error:  # ValueError: malformed, or an integer with thousands of digits
        raise InvalidRequest(field, f"not valid JSON ({error}): {show(text)}") from None


def refuse_unknown_keys(field: str, keys: Iterable[Any], known: Sequence[str]) -> None:
    """Raise InvalidRequest if a key of an object is not a known one."""
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:60], known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InvalidRequest(field, f"unknown key {show(key)}{hint}; known: {', '.join(known)}")
