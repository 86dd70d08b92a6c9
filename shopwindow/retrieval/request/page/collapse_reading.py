"""The request parameter `collapse`: show one product of each group that shares a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.attribute_columns import AttributeTable, ListColumn
from shopwindow.retrieval.request.filter_rows import known_column
from shopwindow.retrieval.request.json_text import read_json, refuse_unknown_keys

MAX_MEMBERS = 100
_KNOWN = ("by", "members")


@dataclass(frozen=True)
class Collapse:
    """One product per value of a column. A product without a value stands alone.

    Attributes:
        by: name of the column.
        members: how many ids of a group to list, 0 to MAX_MEMBERS.
    """

    by: str
    members: int = 0


def parse_collapse(value: str | Mapping[str, Any]) -> Collapse:
    """Read the parameter `collapse`.

    Args:
        value: the name of a column, the JSON text of an object (a text that begins with a brace), or that object.

    Raises:
        InvalidRequest: not JSON, not an object, an unknown key, or a value of the wrong form or outside its limits.
    """
    read: Any = value
    if isinstance(value, str):
        read = read_json("collapse", value) if value.lstrip().startswith("{") else {"by": value}
    if not isinstance(read, Mapping):
        example = '{"by": "style", "members": 5}'
        raise InvalidRequest("collapse", f"must be the name of a column, or an object like {example}, got {show(read)}")
    refuse_unknown_keys("collapse", read, _KNOWN)
    by, members = read.get("by"), read.get("members", 0)
    if not isinstance(by, str):
        raise InvalidRequest("collapse.by", f"must be the name of a column, got {show(by)}")
    if not isinstance(members, int) or isinstance(members, bool) or not 0 <= members <= MAX_MEMBERS:
        raise InvalidRequest("collapse.members", f"must be an integer from 0 to {MAX_MEMBERS}, got {show(members)}")
    return Collapse(by, members)


def check_collapse(collapse: Collapse, table: AttributeTable) -> None:
    """Check that an index can be collapsed.

    Raises:
        InvalidRequest: an unknown column, or a column of lists.
    """
    if isinstance(known_column("collapse", collapse.by, table), ListColumn):
        raise InvalidRequest("collapse", f"must be a column of single values; {show(collapse.by)} holds lists")
