"""Read the parameter `fields`: the columns that a reply shows of each product."""

from __future__ import annotations

from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.json_text import read_json

MAX_FIELDS = 50


def parse_fields(value: Any) -> tuple[str, ...]:
    """Read names of columns, in the order of the reply.

    Args:
        value: JSON text, at most MAX_JSON_BYTES, of a list such as `["title", "price"]`, or the list itself.

    Raises:
        InvalidRequest: not JSON, not a list of 1 to MAX_FIELDS texts, or a text that is empty or appears twice.
    """
    if isinstance(value, str):
        value = read_json("fields", value)
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidRequest("fields", f'must be a JSON list of column names, such as ["title"], got {show(value)}')
    if len(value) > MAX_FIELDS:
        raise InvalidRequest("fields", f"at most {MAX_FIELDS} columns, got {len(value)}")
    for place, name in enumerate(value):
        if not isinstance(name, str) or not name:
            raise InvalidRequest(f"fields[{place}]", f"must be the name of a column, got {show(name)}")
        if name in value[:place]:
            raise InvalidRequest(f"fields[{place}]", f"{show(name)} appears twice; name each column once")
    return tuple(value)
