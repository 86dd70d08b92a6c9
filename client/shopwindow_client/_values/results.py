"""What the calls of the client return."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import InvalidRequest
from .numbers import is_finite
from .timings import Timings

PADDING_ID = -1

_SHOWN_ROWS = 5
_SHOWN_PRODUCTS = 3


@dataclass(frozen=True, eq=False)
class Row:
    """The products found for one query, best first, without padding.

    Iterating gives a pair per product, its id as the shop has it (an int, or a str if the index has text ids) and its
    score as a float. Rows are equal when they hold the same ids, scores, channels, attributes, groups, total and
    facets.

    Attributes:
        ids: (count,) int64; of text ids, their numbers in the index.
        scores: (count,) float32.
        channels: (count,) int64, as in `Results.channels`, or None.
        keys: (count,) str objects, the text ids, or None.
        attributes: A mapping of the columns of `fields` for each product, or None. A missing value is None.
        group_sizes: (count,) int64, as in `Results.group_sizes`, or None.
        group_members: A list of ids for each product, as in `Results.group_members`, or None.
        total: How many products qualify, or groups with `collapse`. None unless you asked for it and the server can
            count them.
        facets: Column -> what was counted, as in `Results.facets`, or None.
        generation: The generation of the index that answered, or None.
    """

    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    channels: npt.NDArray[np.int64] | None = None
    keys: npt.NDArray[np.object_] | None = None
    attributes: list[dict[str, Any]] | None = None
    group_sizes: npt.NDArray[np.int64] | None = None
    group_members: list[list[Any]] | None = None
    total: int | None = None
    facets: dict[str, list[dict[str, Any]]] | None = None
    generation: int | None = None

    @property
    def products(self) -> list[Any]:
        """The ids as the shop has them: ints, or strs if the index has text ids."""
        found: list[Any] = (self.ids if self.keys is None else self.keys).tolist()
        return found

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain data, fit for JSON.

        Returns:
            A dictionary per product: "product_id", an int, or a str if the index has text ids; "score", a float; and
            of what the search asked for, "channels", an int, "attributes", a mapping, "group_size", an int, and
            "group_members", a list of ids.
        """
        products: list[dict[str, Any]] = [{"product_id": product, "score": score} for product, score in self]
        more = {
            "channels": None if self.channels is None else self.channels.tolist(),
            "attributes": self.attributes,
            "group_size": None if self.group_sizes is None else self.group_sizes.tolist(),
            "group_members": self.group_members,
        }
        for name, values in more.items():
            for product, value in zip(products, values or ()):
                product[name] = value
        return products

    def to_dict(self) -> dict[str, Any]:
        """Return the whole page as plain data, fit for JSON.

        Returns:
            "products", as `to_list` has them, and before it "total", "facets" and "generation" if the search asked for
            them.
        """
        page = {"total": self.total, "facets": self.facets, "generation": self.generation}
        return {**{name: value for name, value in page.items() if value is not None}, "products": self.to_list()}

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[Any, float]]:
        return zip(self.products, self.scores.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Row):
            return NotImplemented
        return _found_the_same(self, other)

    def __repr__(self) -> str:
        return f"Row({_count(self, 'product')}: {_best(self)})" if len(self) else "Row(no products)"


@dataclass(frozen=True, eq=False)
class Results:
    """The products found for each query, in the order of the queries.

    Iterating gives a `Row` per query. Results are equal when they hold the same ids, scores, channels, attributes,
    groups, totals and facets; timings and generations do not count.

    Attributes:
        ids: (n, k) int64. A row with fewer than k products ends in -1. If the index has text ids, these are their
            numbers, and `keys` has the texts.
        scores: (n, k) float32. -inf where the id is -1.
        timings: How the server searched for each row. None unless you asked for it with `timings=True`.
        channels: (n, k) int64, what found each product: 1 the embedding, 2 the words, 3 both; 0 where the id is -1.
            None unless the search's `channels` named more than the embedding.
        keys: (n, k) str objects, the text ids; empty where the id is -1. None if the ids of the index are whole
            numbers.
        attributes: (n, k) objects, a mapping of the columns of `fields` for each product; None where the id is -1.
            None unless the search has `fields`.
        group_sizes: (n, k) int64, how many qualifying products each product stands for, itself included; 0 where the id
            is -1. None unless the search has `collapse`.
        group_members: (n, k) objects, a list of the ids of the best products of each group; None where the id is -1.
            None unless `collapse` asks for `members`.
        total: (n,) int64, how many products qualify, or groups with `collapse`; -1 where the server cannot count them.
            None unless you asked for it with `total=True`.
        facets: For each row a mapping of column -> list of counts, in the order of the search's `facets`:
            `{"value": "red", "count": 12}`, or for ranges `{"from": 0, "to": 25, "count": 3}`. None unless the search
            has `facets`.
        generation: (n,) int64, the generation of the index that answered. None unless the search has `offset`,
            `generation` or `timings`.
    """

    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    timings: Timings | None = None
    channels: npt.NDArray[np.int64] | None = None
    keys: npt.NDArray[np.object_] | None = None
    attributes: npt.NDArray[np.object_] | None = None
    group_sizes: npt.NDArray[np.int64] | None = None
    group_members: npt.NDArray[np.object_] | None = None
    total: npt.NDArray[np.int64] | None = None
    facets: list[dict[str, list[dict[str, Any]]]] | None = None
    generation: npt.NDArray[np.int64] | None = None

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many products each query found, (n,) int64."""
        counts: npt.NDArray[np.int64] = (self.ids != PADDING_ID).sum(axis=1, dtype=np.int64)
        return counts

    def without(self, products: int | str | Sequence[int] | Sequence[str]) -> Results:
        """Return the results without one product per row: the one you searched with, which is most like itself.

        Args:
            products: The id of that product as the shop has it. For several rows, one id for each. The product took one
                place of `top_k`, and `total` and `facets` still count it.

        Raises:
            InvalidRequest: These are not ids, or not one for each row.
        """
        own = np.atleast_1d(np.asarray(products))
        kind = np.integer if self.keys is None else np.str_
        if own.shape != (len(self),) or not np.issubdtype(own.dtype, kind):
            text = "" if self.keys is None else "text "
            raise InvalidRequest(f"products must be one {text}id for each of the {len(self)} rows, got {products!r}")
        held = self.ids if self.keys is None else self.keys
        return self._keep((self.ids != PADDING_ID) & (held != own.astype(held.dtype)[:, None]))

    def split(self, same_threshold: float) -> SimilarProducts:
        """Split what `retrieve_similar` found into the same product and merely similar ones.

        To choose whose products are found, filter the search. The filter holds for both lists:
        `retrieve_similar(mug, filter=field("supplier_id") != 17).split(0.9)`. `total` and `facets` of both lists are
        those of the search.

        Args:
            same_threshold: The lowest score of the same product. It depends on the towers: `shopwindow evaluate`
                reports it.

        Raises:
            InvalidRequest: The threshold is not a finite number.
        """
        if not is_finite(same_threshold):
            raise InvalidRequest(f"same_threshold must be a finite number, got {same_threshold!r}")
        found, same = self.ids != PADDING_ID, self.scores >= same_threshold
        return SimilarProducts(self._keep(found & same), self._keep(found & ~same))

    def _keep(self, wanted: npt.NDArray[np.bool_]) -> Results:
        """Return the wanted products, (n, k) bool, moved to the front of their rows."""
        order = np.argsort(~wanted, axis=1, kind="stable")
        kept = np.take_along_axis(wanted, order, axis=1)

        def moved(array: Any, padding: Any) -> Any:
            return None if array is None else np.where(kept, np.take_along_axis(array, order, axis=1), padding)

        return replace(
            self,
            ids=moved(self.ids, np.int64(PADDING_ID)),
            scores=moved(self.scores, np.float32(-np.inf)),
            channels=moved(self.channels, np.int64(0)),
            keys=moved(self.keys, ""),
            attributes=moved(self.attributes, None),
            group_sizes=moved(self.group_sizes, np.int64(0)),
            group_members=moved(self.group_members, None),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Row:
        row = operator.index(row)  # a slice would run several rows into one
        found = self.ids[row] != PADDING_ID

        def found_of(array: Any) -> Any:
            return None if array is None else array[row][found]

        attributes, members = found_of(self.attributes), found_of(self.group_members)
        return Row(
            self.ids[row][found],
            self.scores[row][found],
            found_of(self.channels),
            found_of(self.keys),
            attributes=None if attributes is None else attributes.tolist(),
            group_sizes=found_of(self.group_sizes),
            group_members=None if members is None else members.tolist(),
            total=None if self.total is None or self.total[row] < 0 else int(self.total[row]),
            facets=None if self.facets is None else self.facets[row],
            generation=None if self.generation is None else int(self.generation[row]),
        )

    def __iter__(self) -> Iterator[Row]:
        return (self[row] for row in range(len(self)))

    def to_list(self) -> list[list[dict[str, Any]]]:
        """Return plain data, fit for JSON: `Row.to_list` of each row."""
        return [row.to_list() for row in self]

    def to_json(self) -> str:
        """Return the pages of all rows as JSON text: a list of what `Row.to_dict` returns."""
        return json.dumps([row.to_dict() for row in self], allow_nan=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Results):
            return NotImplemented
        return _found_the_same(self, other)

    def __repr__(self) -> str:
        lines = [f"Results({_count(self, 'row')}, k={self.ids.shape[1]})", "  row  found  best (id: score)"]
        shown = [self[row] for row in range(min(len(self), _SHOWN_ROWS))]
        lines += [f"{number:>5}  {len(row):>5}  {_best(row)}" for number, row in enumerate(shown)]
        if len(self) > _SHOWN_ROWS:
            lines.append(f"  ... and {len(self) - _SHOWN_ROWS} more")
        return "\n".join(lines)


class SimilarProducts(NamedTuple):
    """What `Results.split` returns. Both lists have as many rows as the results.

    Attributes:
        same: The products that reach the threshold: the same product, as other suppliers list it.
        similar: The products that score less.
    """

    same: Results
    similar: Results


class ProductEmbeddings(NamedTuple):
    """Embeddings of products.

    Attributes:
        embeddings: (n, d) float32, L2-normalised.
        modality_weights: (n, 2) float32, how much title and image counted.
    """

    embeddings: npt.NDArray[np.float32]
    modality_weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ServerInfo:
    """What the server says about itself. None: the server does not say.

    Attributes:
        name: The server's name.
        version: The server's version.
        max_batch_size: How many rows `retrieve` takes in one request. The client splits longer lists.
        max_top_k: The highest `top_k` accepted.
        default_top_k: The `top_k` of a request that gives none.
        embedding_dim: The length of an embedding.
        tower_hash: Identifies the towers that the server runs, hexadecimal.
        generation: The generation of the index that the server searched when you asked.
        parameters: All parameters in the configurations of `retrieve` and `product_index`, as text.
    """

    name: str
    version: str
    max_batch_size: int | None = None
    max_top_k: int | None = None
    default_top_k: int | None = None
    embedding_dim: int | None = None
    tower_hash: str | None = None
    generation: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """How the server is, as it says itself.

    Attributes:
        reachable: The server answered.
        live: The server runs.
        ready: The server and all its models are ready.
        models: Model name -> ready, for the models that this client calls.
        detail: Why the server cannot be reached. Empty if it can.
    """

    reachable: bool
    live: bool = False
    ready: bool = False
    models: Mapping[str, bool] = field(default_factory=dict)
    detail: str = ""


def _found_the_same(one: Row | Results, other: Row | Results) -> bool:
    names = ("ids", "scores", "channels", "keys", "attributes", "group_sizes", "group_members", "total", "facets")
    return all(_are_equal(getattr(one, name), getattr(other, name)) for name in names)


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) != 1 else ''}"


def _best(row: Row) -> str:
    if not len(row):
        return "-"
    shown = zip(row.products[:_SHOWN_PRODUCTS], row.scores[:_SHOWN_PRODUCTS])
    more = ", ..." if len(row) > _SHOWN_PRODUCTS else ""
    return ", ".join(f"{product}: {score:.4f}" for product, score in shown) + more
