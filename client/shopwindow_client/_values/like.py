"""Searches with products of the index: "more like these, less like those"."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from .errors import InvalidRequest
from .numbers import is_finite, is_whole
from .requests import Array, check_text

Ids = Union[int, str, Sequence[int], Sequence[str]]


@dataclass(frozen=True)
class Like:
    """Products of the index to search with. The server sums their stored vectors and leaves them out of the results.

    Attributes:
        ids: One id as the shop has it, or several: whole numbers, or texts if the index has text ids.
        weights: How much each product counts, finite numbers other than 0. Below 0, the search moves away from it.
            None: 1 each.
    """

    ids: Ids
    weights: Sequence[float] | None = None


def encode_like(like: Ids | Like | Sequence[Like]) -> dict[str, Array]:
    """Return the `like` input, (n, 1) bytes objects.

    Args:
        like: One query as an id, a list of ids or a `Like`; or a list of `Like`s, one for each query.

    Raises:
        InvalidRequest: There are no ids, they are neither whole numbers nor texts, or the weights do not fit them.
    """
    rows: list[Any] = [like]
    if isinstance(like, (Sequence, np.ndarray)) and not isinstance(like, (str, bytes)):
        given: list[Any] = list(like)
        if any(isinstance(one, Like) for one in given):
            rows = given
    column = np.empty((len(rows), 1), np.object_)
    for row, one in enumerate(rows):
        try:
            column[row, 0] = json.dumps(_query(f"like[{row}]" if len(rows) > 1 else "like", one)).encode()
        except InvalidRequest as error:
            raise InvalidRequest(str(error), position=row) from None
    return {"like": column}


def _query(name: str, one: Any) -> Mapping[str, Any]:
    """Return what the server reads."""
    if not isinstance(one, Like):
        return {"ids": _ids(name, one)}
    ids, weights = _ids(name, one.ids), one.weights
    if weights is None:
        return {"ids": ids}
    if isinstance(weights, (str, bytes)) or not isinstance(weights, (Sequence, np.ndarray)):
        raise InvalidRequest(f"{name}.weights must be a list of numbers, got {weights!r}")
    if len(weights) != len(ids):
        raise InvalidRequest(f"{name}.weights must be one number for each of the {len(ids)} ids, got {len(weights)}")
    for number, weight in enumerate(weights):
        if not is_finite(weight) or weight == 0:
            raise InvalidRequest(f"{name}.weights[{number}] must be a finite number other than 0, got {weight!r}")
    return {"ids": ids, "weights": [float(weight) for weight in weights]}


def _ids(name: str, given: Any) -> list[Any]:
    if isinstance(given, (bytes, bool)) or not isinstance(given, (str, int, np.integer, Sequence, np.ndarray)):
        hint = "; weights go into Like(ids, weights)" if isinstance(given, Mapping) else ""
        raise InvalidRequest(f"{name} must be an id, a list of ids, a Like or a list of Likes, got {given!r}{hint}")
    ids: list[Any] = [given] if isinstance(given, (str, int, np.integer)) else list(given)
    if not ids:
        raise InvalidRequest(f"{name} must name at least one product, got none")
    if all(isinstance(one, str) for one in ids):
        return [check_text(name, one) for one in ids]
    for one in ids:
        if not is_whole(one):
            raise InvalidRequest(f"{name} must name products by whole numbers, or all by texts, got {one!r}")
    return [int(one) for one in ids]
