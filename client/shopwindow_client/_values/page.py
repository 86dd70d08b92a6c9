"""What makes a result page in one call: which parameters to send, and which outputs to ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import InvalidRequest
from .numbers import is_finite
from .requests import GENERATION_OUTPUT, Parameters, check_text, check_whole, json_text

ATTRIBUTES_OUTPUT = "attributes"
TOTAL_OUTPUT = "total"
FACETS_OUTPUT = "facets"
SIZES_OUTPUT = "group_sizes"
MEMBERS_OUTPUT = "group_members"

# Parameters with which scores may rise. Two of them order by something else. With the others the server fetches its
# ranking step by step: a better product that an approximate index finds only then comes behind those before it.
MAY_REORDER = ("boost", "collapse", "diversity", "offset", "sort")


class Page(NamedTuple):
    """What a page adds to a search.

    Attributes:
        parameters: Request parameters.
        outputs: The names of the outputs to ask for.
    """

    parameters: Parameters
    outputs: tuple[str, ...]


def encode_page(
    *,
    fields: Sequence[str] | None = None,
    total: bool = False,
    facets: Mapping[str, Any] | None = None,
    facet_over: int | None = None,
    collapse: str | Mapping[str, Any] | None = None,
    boost: Sequence[Mapping[str, Any]] | None = None,
    sort: Mapping[str, Any] | None = None,
    diversity: float | None = None,
    offset: int | None = None,
    generation: int | None = None,
) -> Page:
    """Return the request parameters that were given, and the outputs that they fill.

    The server checks limits, column names and what stands inside mappings. Empty `fields`, `facets` and `boost` count
    as None.

    Raises:
        InvalidRequest: A value has the wrong type.
    """
    parameters: Parameters = {}
    outputs: list[str] = []
    if not isinstance(total, bool):
        raise InvalidRequest(f"total must be True or False, got {total!r}")
    if total:
        outputs.append(TOTAL_OUTPUT)
    if fields is not None and (names := _listed("fields", fields, "column names")):
        parameters["fields"] = json_text("fields", [check_text(f"fields[{i}]", name) for i, name in enumerate(names)])
        outputs.append(ATTRIBUTES_OUTPUT)
    if facets is not None and _mapping("facets", facets, '{"colour": 20}'):
        parameters["facets"] = json_text("facets", facets)
        outputs.append(FACETS_OUTPUT)
    if collapse is not None:
        outputs.append(SIZES_OUTPUT)
        if isinstance(collapse, str):
            parameters["collapse"] = check_text("collapse", collapse)
        else:
            _mapping("collapse", collapse, '{"by": "style", "members": 5}', "a column name, or ")
            parameters["collapse"] = json_text("collapse", collapse)
            if collapse.get("members"):
                outputs.append(MEMBERS_OUTPUT)
    if boost is not None and (terms := _listed("boost", boost, "mappings")):
        for i, term in enumerate(terms):
            _mapping(f"boost[{i}]", term, '{"column": "margin", "add": 0.1}')
        parameters["boost"] = json_text("boost", terms)
    if sort is not None:
        _mapping("sort", sort, '{"by": "price", "order": "asc", "among": 500}')
        parameters["sort"] = json_text("sort", sort)
    if diversity is not None:
        if not is_finite(diversity):
            raise InvalidRequest(f"diversity must be a finite number, got {diversity!r}")
        parameters["diversity"] = float(diversity)
    for name, number in (("facet_over", facet_over), ("offset", offset), ("generation", generation)):
        if number is not None:
            parameters[name] = check_whole(name, number)
    if offset is not None or generation is not None:
        outputs.append(GENERATION_OUTPUT)  # with it, the next page can come from the same index
    return Page(parameters, tuple(outputs))


def _listed(name: str, values: Any, of: str) -> list[Any]:
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)):
        raise InvalidRequest(f"{name} must be a list of {of}, got {values!r}")
    return list(values)


def _mapping(name: str, value: Any, example: str, otherwise: str = "") -> Any:
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"{name} must be {otherwise}a mapping such as {example}, got {value!r}")
    return value
