"""What the calls of the client return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import InvalidRequest
from .timings import Timings

PADDING_ID = -1

_SHOWN_ROWS = 5
_SHOWN_PRODUCTS = 3


@dataclass(frozen=True, eq=False)
class Row:
    """The products found for one query, best first, without padding.

    Attributes:
        ids: (count,) int64.
        scores: (count,) float32.
    """

    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Row({len(self)} products: {_best(self)})"


@dataclass(frozen=True, eq=False)
class Results:
    """The products found for each query, in the order of the queries. Iterating gives a `Row` a query.

    Attributes:
        ids: (n, k) int64; a row with fewer than k products ends in -1.
        scores: (n, k) float32; -inf where the id is -1.
        timings: How the server searched for each row; None unless it was asked for with `timings=True`.
        channels: (n, k) int64, what found each product: 1 the embedding, 2 the words, 3 both; 0 where the id is -1.
            None unless the search's `channels` named more than the embedding.
    """

    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    timings: Timings | None = None
    channels: npt.NDArray[np.int64] | None = None

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """(n,) int64: how many products each query found."""
        counts: npt.NDArray[np.int64] = (self.ids != PADDING_ID).sum(axis=1, dtype=np.int64)
        return counts

    def without(self, products: int | Sequence[int]) -> Results:
        """The same without one product a row: the one that was searched with, as nothing is more like it.

        Args:
            products: Its id; with several rows, one for each. It took one place of the `top_k`.

        Raises:
            InvalidRequest: These aren't ids, or there are more or fewer than rows.
        """
        own = np.atleast_1d(np.asarray(products))
        if own.shape != (len(self),) or not np.issubdtype(own.dtype, np.integer):
            raise InvalidRequest(f"products must be one id for each of the {len(self)} rows, got {products!r}")
        return self._keep((self.ids != PADDING_ID) & (self.ids != own[:, None]))

    def split(self, same_threshold: float) -> SimilarProducts:
        """Split what `retrieve_similar` found into the same product and merely similar ones.

        Whose products these are is for the filter to say; it holds for both lists:
        `retrieve_similar(mug, filter=field("supplier_id") != 17).split(0.9)`.

        Args:
            same_threshold: Lowest score of the same product. `shopwindow evaluate` tells what suits the towers.

        Raises:
            InvalidRequest: It isn't a finite number.
        """
        is_number = isinstance(same_threshold, (int, float, np.number)) and not isinstance(same_threshold, bool)
        if not is_number or not np.isfinite(same_threshold):
            raise InvalidRequest(f"same_threshold must be a finite number, got {same_threshold!r}")
        found, same = self.ids != PADDING_ID, self.scores >= same_threshold
        return SimilarProducts(self._keep(found & same), self._keep(found & ~same))

    def _keep(self, wanted: npt.NDArray[np.bool_]) -> Results:
        """Those that are wanted, (n, k) bool, moved to the front of their rows."""
        order = np.argsort(~wanted, axis=1, kind="stable")
        kept = np.take_along_axis(wanted, order, axis=1)
        ids = np.where(kept, np.take_along_axis(self.ids, order, axis=1), np.int64(PADDING_ID))
        scores = np.where(kept, np.take_along_axis(self.scores, order, axis=1), np.float32(-np.inf))
        channels = self.channels
        if channels is not None:
            channels = np.where(kept, np.take_along_axis(channels, order, axis=1), np.int64(0))
        return Results(ids, scores, self.timings, channels)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Row:
        found = self.ids[row] != PADDING_ID
        return Row(self.ids[row][found], self.scores[row][found])

    def __iter__(self) -> Iterator[Row]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        lines = [f"Results({len(self)} rows, k={self.ids.shape[1]})", "  row  found  best (id: score)"]
        shown = [self[row] for row in range(min(len(self), _SHOWN_ROWS))]
        lines += [f"{number:>5}  {len(row):>5}  {_best(row)}" for number, row in enumerate(shown)]
        if len(self) > _SHOWN_ROWS:
            lines.append(f"  ... {len(self) - _SHOWN_ROWS} more rows")
        return "\n".join(lines)


class SimilarProducts(NamedTuple):
    """What `Results.split` makes of results; a row of both for each row.

    Attributes:
        same: The same product, by the threshold: as other suppliers list it.
        similar: The other ones found, which score less.
    """

    same: Results
    similar: Results


class ProductEmbeddings(NamedTuple):
    """Embeddings of products.

    Attributes:
        embeddings: (n, d) float32, L2-normalised.
        modality_weights: (n, 2) float32: how much title and image counted.
    """

    embeddings: npt.NDArray[np.float32]
    modality_weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ServerInfo:
    """What the server says about itself; None where it doesn't say.

    Attributes:
        name: The server's name.
        version: The server's version.
        max_batch_size: Rows that `retrieve` takes in one request; the client splits what is longer.
        max_top_k: The highest `top_k` accepted.
        default_top_k: The `top_k` of a request that states none.
        embedding_dim: The length of an embedding.
        tower_hash: Identifies the towers that the server runs, hexadecimal.
        generation: Counts the indexes that the server has taken up, as it stood when this was asked.
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
    """How the server is doing, by its own account.

    Attributes:
        reachable: The server answered.
        live: The server runs.
        ready: The server and all its models are ready.
        models: Model name -> ready, for the models that this client calls.
        detail: Why it isn't reachable; empty when it is.
    """

    reachable: bool
    live: bool = False
    ready: bool = False
    models: Mapping[str, bool] = field(default_factory=dict)
    detail: str = ""


def _best(row: Row) -> str:
    if not len(row):
        return "-"
    shown = zip(row.ids[:_SHOWN_PRODUCTS], row.scores[:_SHOWN_PRODUCTS])
    more = ", ..." if len(row) > _SHOWN_PRODUCTS else ""
    return ", ".join(f"{product}: {score:.4f}" for product, score in shown) + more
