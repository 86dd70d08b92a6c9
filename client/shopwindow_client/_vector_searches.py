"""The public calls that find products by vectors and by products of the index, declared once for both clients."""

# `_run` returns a result or a coroutine, depending on the client. No type can say that of one method.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy.typing as npt

from ._calls import Calls
from ._compose import Part
from ._values.like import Ids, Like
from ._values.requests import FilterLike

# `Results`, or a coroutine that returns them.
ResultsT = TypeVar("ResultsT")


class VectorSearches(ABC, Generic[ResultsT]):
    """The searches that embed no words and photos of their own. `Searches.retrieve` explains their options."""

    _calls: Calls

    @abstractmethod
    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return the result of `work`, or a coroutine that returns it."""

    def retrieve_by_embedding(
        self,
        embeddings: npt.ArrayLike,
        *,
        top_k: int | None = None,
        effort: int | None = None,
        filter: FilterLike | None = None,
        min_score: float | str | None = None,
        channels: str | None = None,
        fusion: str | None = None,
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
        allow_lower_effort: bool = False,
        timings: bool = False,
        towers: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ResultsT:
        """Find the products nearest to embeddings.

        The options not listed here are those of `retrieve`. `channels` and `fusion` work only in `retrieve`.

        Args:
            embeddings: (n, d) or (d,) numbers.

        Returns:
            `Results`: one row per embedding, in order.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(
            self._calls.retrieve_by_embedding(
                embeddings,
                top_k=top_k,
                effort=effort,
                filter=filter,
                min_score=min_score,
                channels=channels,
                fusion=fusion,
                fields=fields,
                total=total,
                facets=facets,
                facet_over=facet_over,
                collapse=collapse,
                boost=boost,
                sort=sort,
                diversity=diversity,
                offset=offset,
                generation=generation,
                allow_lower_effort=allow_lower_effort,
                timings=timings,
                towers=towers,
                timeout_s=timeout_s,
                request_id=request_id,
                traceparent=traceparent,
                headers=headers,
            )
        )

    def retrieve_like(
        self,
        like: Ids | Like | Sequence[Like],
        *,
        top_k: int | None = None,
        effort: int | None = None,
        filter: FilterLike | None = None,
        min_score: float | str | None = None,
        channels: str | None = None,
        fusion: str | None = None,
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
        allow_lower_effort: bool = False,
        timings: bool = False,
        towers: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ResultsT:
        """Find the products that are like products of the index, without these.

        The server searches with the weighted sum of the stored vectors.

        The options not listed here are those of `retrieve`. `channels` and `fusion` work only in `retrieve`.

        Args:
            like: One query as the id of a product, or a list of ids, or a `Like` with weights; or a list of `Like`s,
                one for each query. At most 1,000 ids for each query.

        Returns:
            `Results`: one row per query, in order.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(
            self._calls.retrieve_like(
                like,
                top_k=top_k,
                effort=effort,
                filter=filter,
                min_score=min_score,
                channels=channels,
                fusion=fusion,
                fields=fields,
                total=total,
                facets=facets,
                facet_over=facet_over,
                collapse=collapse,
                boost=boost,
                sort=sort,
                diversity=diversity,
                offset=offset,
                generation=generation,
                allow_lower_effort=allow_lower_effort,
                timings=timings,
                towers=towers,
                timeout_s=timeout_s,
                request_id=request_id,
                traceparent=traceparent,
                headers=headers,
            )
        )

    def retrieve_composed(
        self,
        queries: Sequence[Part] | Sequence[Sequence[Part]],
        *,
        top_k: int | None = None,
        effort: int | None = None,
        filter: FilterLike | None = None,
        min_score: float | str | None = None,
        channels: str | None = None,
        fusion: str | None = None,
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
        allow_lower_effort: bool = False,
        timings: bool = False,
        towers: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ResultsT:
        """Find the products nearest to a weighted sum of photos, words and vectors.

        The options not listed here are those of `retrieve`. `channels` and `fusion` work only in `retrieve`.

        Args:
            queries: The parts of one query, or a list of such lists, as in
                `retrieve_composed([Part(Product(image="mug.jpg")), Part("red", 0.5), Part("cup", -0.3)])`.

        Returns:
            `Results`: one row per query, in order.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(
            self._calls.retrieve_composed(
                queries,
                top_k=top_k,
                effort=effort,
                filter=filter,
                min_score=min_score,
                channels=channels,
                fusion=fusion,
                fields=fields,
                total=total,
                facets=facets,
                facet_over=facet_over,
                collapse=collapse,
                boost=boost,
                sort=sort,
                diversity=diversity,
                offset=offset,
                generation=generation,
                allow_lower_effort=allow_lower_effort,
                timings=timings,
                towers=towers,
                timeout_s=timeout_s,
                request_id=request_id,
                traceparent=traceparent,
                headers=headers,
            )
        )
