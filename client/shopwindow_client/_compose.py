"""Composed queries: the weighted sum of photos, words and vectors, as one embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._values import requests as wire
from ._values.errors import InvalidRequest, ServerFault
from ._values.numbers import is_finite
from ._values.requests import ModelRequest, Product, Reply


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a composed query.

    Attributes:
        what: Words, a Product (a photo, a title or both), or an embedding, (d,) numbers.
        weight: How much this part counts. Below 0, the search moves away from it. Each part is normalised first.
    """

    what: str | Product | npt.ArrayLike
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not is_finite(self.weight) or self.weight == 0:
            raise InvalidRequest(f"weight must be a finite number other than 0, got {self.weight!r}")


class Composition:
    """Composed queries, and the parts that the server must embed first.

    Args:
        queries: The parts of one query, or a list of such lists.

    Raises:
        InvalidRequest: A query has no parts, or a part cannot be sent. The message names the part.
    """

    def __init__(self, queries: Sequence[Part] | Sequence[Sequence[Part]]) -> None:
        rows: list[Any] = list(queries)
        if rows and all(isinstance(part, Part) for part in rows):
            rows = [rows]
        if not rows:
            raise InvalidRequest("queries must hold at least one composed query, got none")
        self._queries = len(rows)
        # By model: the inputs to embed, and for each of them its query and its weight.
        self._inputs: dict[str, list[dict[str, wire.Array]]] = {wire.EMBED_QUERY: [], wire.EMBED_PRODUCT: []}
        self._owners: dict[str, list[tuple[int, float]]] = {wire.EMBED_QUERY: [], wire.EMBED_PRODUCT: []}
        self._vectors: list[tuple[int, float, wire.Array]] = []
        for row, parts in enumerate(rows):
            if not isinstance(parts, Sequence) or not parts:
                raise InvalidRequest(f"queries[{row}] must be a list of at least one Part, got {parts!r}", position=row)
            for number, part in enumerate(parts):
                try:
                    self._add(row, part)
                except InvalidRequest as error:
                    raise InvalidRequest(f"queries[{row}][{number}]: {error}", position=row) from None

    def requests(self) -> list[ModelRequest]:
        """Return the requests that embed the parts."""
        found = []
        for model, inputs in self._inputs.items():
            if inputs:
                columns = {name: np.concatenate([given[name] for given in inputs]) for name in inputs[0]}
                positions = [row for row, _ in self._owners[model]]
                found.append(ModelRequest(model, columns, ("embedding",), {}, positions))
        return found

    def embeddings(self, requests: Sequence[ModelRequest], replies: Sequence[Reply]) -> npt.NDArray[np.float32]:
        """Return the weighted sum of each query's parts, (queries, d) float32, L2-normalised.

        Args:
            requests: What `requests` returned.
            replies: The replies to them.

        Raises:
            InvalidRequest: The parts of a query cancel out, or a given embedding has another length than the server's.
            ServerFault: The embeddings of the server's two towers differ in length.
        """
        terms = list(self._vectors)
        for request, reply in zip(requests, replies):
            owners = self._owners[request.model]
            terms += [(row, weight, vector) for (row, weight), vector in zip(owners, reply["embedding"])]
        width = len(terms[-1][2])  # a width from the server, if it embedded any part
        if len({reply["embedding"].shape[1] for reply in replies}) > 1:
            raise ServerFault(
                "embed_query and embed_product made embeddings of different lengths. Check that the server has the two "
                "towers of one export."
            )
        sums = np.zeros((self._queries, width))
        for row, weight, vector in terms:
            norm = float(np.linalg.norm(vector))
            if len(vector) != width or norm == 0:
                what = f"an embedding of {len(vector)} numbers" if norm else "an embedding of zeros"
                raise InvalidRequest(f"queries[{row}]: {what}; it needs {width} numbers, not all 0", position=row)
            sums[row] += weight / norm * vector.astype(np.float64)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        if (norms < 1e-6).any():
            row = int(np.argmin(norms))
            raise InvalidRequest(f"queries[{row}]: the parts cancel out. Change their weights.", position=row)
        summed: npt.NDArray[np.float32] = (sums / norms).astype(np.float32)
        return summed

    def _add(self, row: int, part: Part) -> None:
        if not isinstance(part, Part):
            raise InvalidRequest(f"must be a Part, got {type(part).__name__}")
        if isinstance(part.what, str):
            self._inputs[wire.EMBED_QUERY].append(wire.encode_queries(part.what))
            self._owners[wire.EMBED_QUERY].append((row, part.weight))
        elif isinstance(part.what, Product):
            self._inputs[wire.EMBED_PRODUCT].append(wire.encode_products(part.what))
            self._owners[wire.EMBED_PRODUCT].append((row, part.weight))
        else:
            vector = wire.encode_embeddings(part.what)["embedding"]
            if len(vector) != 1:
                raise InvalidRequest(f"an embedding must have shape (d,), got {np.shape(part.what)}")
            self._vectors.append((row, part.weight, vector[0]))
