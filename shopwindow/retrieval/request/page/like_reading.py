"""The input `like` of `product_index`: products to search with, in place of an embedding."""

from __future__ import annotations

from dataclasses import dataclass

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.json_text import read_json
from shopwindow.retrieval.request.scalars import read_number

MAX_PRODUCTS = 1_000
_MAX_BYTES = 2**20


@dataclass(frozen=True)
class Like:
    """Products to search with.

    Attributes:
        ids: their ids as the shop has them: all ints, or all texts.
        weights: how much each counts; below 0, the search moves away from it.
    """

    ids: tuple[int, ...] | tuple[str, ...]
    weights: tuple[float, ...]


def parse_like(field: str, text: bytes) -> Like:
    """Read one row of `like`.

    Args:
        field: names the row in errors.
        text: JSON, `{"ids": [7, 9], "weights": [1, -0.5]}`; without weights, each product counts 1.

    Raises:
        InvalidRequest: it is not of this form, or beyond a limit.
    """
    given = read_json(field, text, most_bytes=_MAX_BYTES)
    if not isinstance(given, dict) or not set(given) <= {"ids", "weights"} or "ids" not in given:
        raise InvalidRequest(
            field, f'must be a JSON object like {{"ids": [7, 9], "weights": [1, -0.5]}}, got {show(given)}'
        )
    ids = given["ids"]
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_PRODUCTS:
        held = f"{len(ids)}" if isinstance(ids, list) else show(ids)
        raise InvalidRequest(f"{field}.ids", f"must be a list of 1 to {MAX_PRODUCTS} ids, got {held}")
    kind: type = str if isinstance(ids[0], str) else int
    for one in ids:
        if not isinstance(one, kind) or isinstance(one, bool):
            raise InvalidRequest(f"{field}.ids", f"must be all whole numbers or all texts, got {show(one)}")
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise InvalidRequest(f"{field}.ids", f"{show(twice)} appears twice; give it one weight")
    weights = given.get("weights")
    if weights is None:
        weights = [1.0] * len(ids)
    if not isinstance(weights, list) or len(weights) != len(ids):
        held = f"{len(weights)}" if isinstance(weights, list) else show(weights)
        raise InvalidRequest(f"{field}.weights", f"must be one number for each of the {len(ids)} ids, got {held}")
    read = tuple(read_number(f"{field}.weights", weight) for weight in weights)
    if 0 in read:
        raise InvalidRequest(f"{field}.weights", "must not be 0; leave that product out")
    return Like(tuple(ids), read)
