"""Reads the outputs that make a result page, and checks that they can be true."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from .._values import page as names
from .._values.requests import Array, ModelRequest, Reply
from .._values.results import PADDING_ID

JSON_OUTPUTS = (names.ATTRIBUTES_OUTPUT, names.FACETS_OUTPUT, names.MEMBERS_OUTPUT)
PAGE_OUTPUTS = (*JSON_OUTPUTS, names.TOTAL_OUTPUT, names.SIZES_OUTPUT)


class Untrue(Exception):
    """Raised for an output that cannot be true. Its arguments: what it is, and the name of the output."""


def read_page(reply: Reply, request: ModelRequest) -> None:
    """Check the outputs of a page in a reply, and turn those that are JSON into what they say.

    Args:
        reply: The outputs, with texts as they came. Each text becomes a mapping or a list, and None for padding.
        request: What was asked for.

    Raises:
        Untrue: An output cannot be true.
    """
    padding = reply["product_ids"] == PADDING_ID
    if names.TOTAL_OUTPUT in reply:
        total = reply[names.TOTAL_OUTPUT][:, 0]  # -1: the server cannot count them
        if ((total < np.count_nonzero(~padding, axis=1)) & (total != -1)).any():
            raise Untrue("less than the products found", names.TOTAL_OUTPUT)
    sizes = reply.get(names.SIZES_OUTPUT)
    if sizes is not None and (sizes.min() < 0 or not np.array_equal(sizes == 0, padding)):
        raise Untrue("groups without products, or products without groups,", names.SIZES_OUTPUT)
    if names.ATTRIBUTES_OUTPUT in reply:
        values = _parsed(reply[names.ATTRIBUTES_OUTPUT], padding, names.ATTRIBUTES_OUTPUT)
        fields = json.loads(str(request.parameters["fields"]))
        if any(type(product) is not dict or list(product) != fields for product in values):
            raise Untrue("other columns than were asked for", names.ATTRIBUTES_OUTPUT)
        reply[names.ATTRIBUTES_OUTPUT] = _placed(values, ~padding)
    if names.MEMBERS_OUTPUT in reply:
        values = _parsed(reply[names.MEMBERS_OUTPUT], padding, names.MEMBERS_OUTPUT)
        most = json.loads(str(request.parameters["collapse"]))["members"]
        for members, size in zip(values, [most] * len(values) if sizes is None else sizes[~padding].tolist()):
            if type(members) is not list or len(members) > min(size, most) or not _are_ids(members):
                raise Untrue("what are no members of groups", names.MEMBERS_OUTPUT)
        reply[names.MEMBERS_OUTPUT] = _placed(values, ~padding)
    if names.FACETS_OUTPUT in reply:
        found = reply[names.FACETS_OUTPUT]
        values = _parsed(found, np.zeros(found.shape, bool), names.FACETS_OUTPUT)
        columns = list(json.loads(str(request.parameters["facets"])))
        if not all(type(facets) is dict and list(facets) == columns and _are_counts(facets) for facets in values):
            raise Untrue("what are no facets", names.FACETS_OUTPUT)
        reply[names.FACETS_OUTPUT] = _placed(values, np.ones(found.shape, bool))


def _parsed(texts: Array, padding: Array, name: str) -> list[Any]:
    """Return what the texts say that are no padding, which must be empty.

    One call for all of them takes a tenth of the time.
    """
    given = texts[~padding].tolist()
    if any(texts[padding].tolist()) or not all(given):
        raise Untrue("texts without products, or products without texts,", name)
    try:
        values: list[Any] = _JSON.decode(f"[{','.join(given)}]")
    except (ValueError, RecursionError):
        raise Untrue("text that is no JSON", name) from None
    if len(values) != len(given):
        raise Untrue("text that is no JSON", name)
    return values


def _placed(values: Sequence[Any], places: Array) -> Array:
    found = np.empty(places.shape, np.object_)
    row = np.empty(len(values), np.object_)
    for number, value in enumerate(values):  # numpy would make an axis of lists
        row[number] = value
    found[places] = row
    return found


def _are_ids(members: Sequence[Any]) -> bool:
    return all(type(one) is int for one in members) or all(type(one) is str for one in members)


def _are_counts(facets: Mapping[str, Any]) -> bool:
    return all(
        type(counts) is list and all(type(one) is dict and type(one.get("count")) is int for one in counts)
        for counts in facets.values()
    )


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


_JSON = json.JSONDecoder(parse_constant=_no_number)
