"""The keys of callers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopwindow.server.errors import ServingError

SHORTEST_KEY = 20
"""Characters of a key at least. `openssl rand -hex 20` makes one that nobody guesses."""
_LONGEST_KEY = 4096
_MOST_PER_SECOND = 1_000_000


class KeysInvalid(ServingError):
    """Raised when the file of keys cannot be used."""


@dataclass(frozen=True, kw_only=True)
class CallerKey:
    """A caller who may use the server.

    Attributes:
        name: The caller's name.
        key: The secret that the caller sends as `authorization: Bearer KEY`.
        requests_per_second: The most requests of all its connections together; None for no limit.
    """

    name: str
    key: str
    requests_per_second: int | None = None


def read_keys(file: Path) -> list[CallerKey]:
    """Read a JSON file of keys: `{"NAME": {"key": "...", "requests_per_second": 100}, ...}`. The rate may be left out.

    Raises:
        KeysInvalid: The file cannot be read, or something in it is wrong. The text names the caller, never a key.
    """
    try:
        callers = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise KeysInvalid(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise KeysInvalid(f"{file}: not a JSON file of keys: {error}") from None
    if not isinstance(callers, dict) or not callers:
        raise KeysInvalid(f'{file}: must be a JSON object of at least one caller: {{"NAME": {{"key": "..."}}}}')
    found = [_caller(file, name, about) for name, about in callers.items()]
    owners: dict[str, str] = {}
    for caller in found:
        if caller.key in owners:
            raise KeysInvalid(f"{file}: {owners[caller.key]} and {caller.name} have the same key")
        owners[caller.key] = caller.name
    return found


def _caller(file: Path, name: str, about: Any) -> CallerKey:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise KeysInvalid(f"{file}: a name must be 1 to 64 letters, digits, '.', '_' or '-', got {name[:80]!r}")
    if not isinstance(about, dict) or not isinstance(about.get("key"), str):
        raise KeysInvalid(f'{file}: {name}: must be an object with a text "key"')
    if unknown := sorted(set(about) - {"key", "requests_per_second"}):
        raise KeysInvalid(f"{file}: {name}: knows key and requests_per_second, got {', '.join(unknown)[:200]}")
    key, rate = about["key"], about.get("requests_per_second")
    if not SHORTEST_KEY <= len(key) <= _LONGEST_KEY or not re.fullmatch(r"[!-~]+", key):
        raise KeysInvalid(
            f"{file}: {name}: key: must be {SHORTEST_KEY} to {_LONGEST_KEY} printable ASCII characters without spaces, "
            f"has {len(key)} characters"
        )
    if rate is not None and not (type(rate) is int and 1 <= rate <= _MOST_PER_SECOND):
        raise KeysInvalid(f"{file}: {name}: requests_per_second: must be 1 to {_MOST_PER_SECOND}, got {rate!r}"[:400])
    return CallerKey(name=name, key=key, requests_per_second=rate)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)!r} is there twice")
    return found
