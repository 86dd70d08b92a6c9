"""Options that make a result page, shared by the commands that search."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shopwindow_client import Like
    from shopwindow_client._values.options import PageOptions

_ORDERS = ("asc", "desc")


def add_page(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("a result page in one call")
    group.add_argument(
        "--fields", type=_names, metavar="NAME,...", help="columns of the catalogue that the server returns, at most 50"
    )
    group.add_argument(
        "--total", action="store_true", help="count all products that qualify, or groups with --collapse"
    )
    group.add_argument(
        "--facets", metavar="JSON", help='values to count, \'{"colour": 20, "price": {"ranges": [0, 25, null]}}\''
    )
    group.add_argument(
        "--facet-over", type=int, metavar="N", help="count over the first N places instead of over all that qualify"
    )
    group.add_argument(
        "--collapse",
        metavar="COLUMN[:MEMBERS]",
        help="return one product for each value of a column, and the ids of up to MEMBERS products of its group",
    )
    group.add_argument(
        "--boost",
        metavar="JSON",
        help='terms that change scores, \'[{"if": {"stock": {"gt": 0}}, "multiply": 1.2}]\'',
    )
    group.add_argument(
        "--sort", metavar="COLUMN[:desc]", help="order by a column among products of --min-score, or --among"
    )
    group.add_argument("--among", type=int, metavar="N", help="sort only the first N places of the ranking")
    group.add_argument(
        "--diversity", type=float, metavar="X", help="prefer products that differ from those before them, up to 1"
    )
    group.add_argument("--offset", type=int, metavar="N", help="places to skip: the products of the pages before")
    group.add_argument(
        "--generation", type=int, metavar="N", help="generation of the index that must answer, that of the first page"
    )
    group.add_argument("--json", action="store_true", help="print everything as JSON instead of a table")


def page_of(options: argparse.Namespace) -> PageOptions:
    """Return the options as the client takes them.

    Raises:
        ValueError: one is no JSON, or --among has no --sort.
    """
    return {
        "fields": options.fields,
        "total": options.total,
        "facets": _json("facets", options.facets),
        "facet_over": options.facet_over,
        "collapse": _collapse(options.collapse),
        "boost": _json("boost", options.boost),
        "sort": _sort(options.sort, options.among),
        "diversity": options.diversity,
        "offset": options.offset,
        "generation": options.generation,
    }


def like_of(text: str) -> Like:
    """Return the products of `--like ID[=WEIGHT],...`. Ids are whole numbers if all of them look so, else texts.

    Raises:
        ValueError: an id is missing.
    """
    from shopwindow_client import Like

    ids, weights = [], []
    for part in text.split(","):
        product, equals, weight = part.rpartition("=")
        try:
            number = float(weight) if equals else 1.0
        except ValueError:  # an equals sign in an id
            product, number = part, 1.0
        ids.append(product if equals and product else part)
        weights.append(number)
        if not ids[-1].strip():
            raise ValueError(f"--like: must look like ID[=WEIGHT],ID[=WEIGHT], got {text!r}")
    return Like(_whole(ids) or [one.strip('"') for one in ids], weights)


def _whole(ids: list[str]) -> list[int] | None:
    try:
        return [int(one) for one in ids]
    except ValueError:
        return None


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _json(name: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not valid JSON ({error}): {text!r}") from None


def _collapse(text: str | None) -> str | dict[str, Any] | None:
    if text is None:
        return None
    column, colon, members = text.rpartition(":")
    return {"by": column, "members": int(members)} if colon and members.isdecimal() else text


def _sort(text: str | None, among: int | None) -> dict[str, Any] | None:
    if text is None:
        if among is not None:
            raise ValueError(f"--among: says how many places --sort orders, got {among} without --sort")
        return None
    column, colon, order = text.rpartition(":")
    sort: dict[str, Any] = {"by": column, "order": order} if colon and order in _ORDERS else {"by": text}
    return sort if among is None else {**sort, "among": among}
