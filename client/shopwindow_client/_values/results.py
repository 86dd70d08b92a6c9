"""What the calls of the client return."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
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
    score as a float. Rows are equal when they hold the same ids, scores and channels.

    Attributes:
        ids: (count,) int64; of text ids, their numbers in the index.
        scores: (count,) float32.
        channels: (count,) int64, as in `Results.channels`, or None.
        keys: (count,) str objects, the text ids, or None.
    """

    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    channels: npt.NDArray[np.int64] | None = None
    keys: npt.NDArray[np.object_] | None = None

    @property
    def products(self) -> list[Any]:
        """The ids as the shop has them: ints, or strs if the index has text ids."""
        found: list[Any] = (self.ids if self.keys is None else self.keys).tolist()
        return found

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain data, fit for JSON.

        Returns:
            A dictionary per product: "product_id", an int, or a str if the index has text ids; "score", a float; with
            `channels` also "channels", an int.
        """
        products: list[dict[str, Any]] = [{"product_id": product, "score": score} for product, score in self]
        if self.channels is not None:
            for product, channel in zip(products, self.channels.tolist()):
                product["channels"] = channel
        return products

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

    Iterating gives a `Row` per query. Results are equal when they hold the same ids, scores and channels; timings do
    not count.

    Attributes:
        ids: (n, k) int64. A row with fewer than k products ends in -1. If the index has text ids, these are their
            numbers, and `keys` has the texts.
        scores: (n, k) float32. -inf where the id is -1.
        timings: How the server searched for each row. None unless you asked for it with `timings=True`.
        channels: (n, k) int64, what found each product: 1 the embedding, 2 the words, 3 both; 0 where the id is -1.
            None unless the search's `channels` named more than the embedding.
        keys: (n, k) str objects, the text ids; empty where the id is -1. None if the ids of the index are whole
            numbers.
    """

    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    timings: Timings | None = None
    channels: npt.NDArray[np.int64] | None = None
    keys: npt.NDArray[np.object_] | None = None

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many products each query found, (n,) int64."""
        counts: npt.NDArray[np.int64] = (self.ids != PADDING_ID).sum(axis=1, dtype=np.int64)
        return counts

    def without(self, products: int | str | Sequence[int] | Sequence[str]) -> Results:
        """Return the results without one product per row: the one you searched with, which is most like itself.

        Args:
            products: The id of that product as the shop has it. For several rows, one id for each. The product took one
                place of `top_k`.

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
        `retrieve_similar(mug, filter=field("supplier_id") != 17).split(0.9)`.

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
        ids = np.where(kept, np.take_along_axis(self.ids, order, axis=1), np.int64(PADDING_ID))
        scores = np.where(kept, np.take_along_axis(self.scores, order, axis=1), np.float32(-np.inf))
        channels = self.channels
        if channels is not None:
            channels = np.where(kept, np.take_along_axis(channels, order, axis=1), np.int64(0))
        keys = self.keys
        if keys is not None:
            keys = np.where(kept, np.take_along_axis(keys, order, axis=1), "")
        return Results(ids, scores, self.timings, channels, keys)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Row:
        row = operator.index(row)  # a slice would run several rows into one
        found = self.ids[row] != PADDING_ID
        channels = None if self.channels is None else self.channels[row][found]
        keys = None if self.keys is None else self.keys[row][found]
        return Row(self.ids[row][found], self.scores[row][found], channels, keys)

    def __iter__(self) -> Iterator[Row]:
        return (self[row] for row in range(len(self)))

    def to_list(self) -> list[list[dict[str, Any]]]:
        """Return plain data, fit for JSON: `Row.to_list` of each row."""
        return [row.to_list() for row in self]

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
    pairs: list[tuple[Any, Any]] = [
        (getattr(one, name), getattr(other, name)) for name in ("ids", "scores", "channels", "keys")
    ]
    return all(np.array_equal(array, another) for array, another in pairs)  # two Nones are equal, too


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) != 1 else ''}"


def _best(row: Row) -> str:
    if not len(row):
        return "-"
    shown = zip(row.products[:_SHOWN_PRODUCTS], row.scores[:_SHOWN_PRODUCTS])
    more = ", ..." if len(row) > _SHOWN_PRODUCTS else ""
    return ", ".join(f"{product}: {score:.4f}" for product, score in shown) + more
