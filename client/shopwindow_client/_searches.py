"""The public calls that find products, declared once for both clients."""

# `_run` returns a result or a coroutine, depending on the client. No type can say that of one method.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy.typing as npt

from ._calls import Calls
from ._compose import Part
from ._values.requests import FilterLike, ImageSource, Product

# `Results`, or a coroutine that returns them.
ResultsT = TypeVar("ResultsT")


class Searches(ABC, Generic[ResultsT]):
    """The four searches. `retrieve` explains the options of all of them."""

    _calls: Calls

    @abstractmethod
    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return the result of `work`, or a coroutine that returns it."""

    def retrieve(
        self,
        queries: str | Sequence[str],
        *,
        top_k: int | None = None,
        effort: int | None = None,
        filter: FilterLike | None = None,
        min_score: float | None = None,
        channels: str | None = None,
        fusion: str | None = None,
        allow_lower_effort: bool = False,
        timings: bool = False,
        towers: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ResultsT:
        """Find the products that match a shopper's words.

        Args:
            queries: One query, or any number of them.
            top_k: How many products to find for each query. None: the server's default.
            effort: How thoroughly to search, from 1 (fastest) to 10 (most thorough). None: the server's default.
            filter: Conditions that products must meet: `field("price") < 50`, or what the server reads, as a mapping
                or its JSON: `{"colour": "red", "price": {"lt": 50}, "brand": {"in": ["a", "b"]}}`.
            min_score: Leave out products that score less. None: leave out none.
            channels: What finds products: "embedding", "lexical" or "embedding,lexical". All but the first need words;
                `Results.channels` then tells which channel found each product. None: the server's default, "embedding".
            fusion: How to merge two channels: "rrf", or "weighted:0.7", where 0.7 is the weight of the embedding
                channel. None: the server's default, "rrf".
            allow_lower_effort: Let the server search with less effort when little time is left until the deadline.
                `timings` tells the effort used.
            timings: Also return how long the server's steps took, the effort used, and the generation of the index
                that answered, as `Results.timings`.
            towers: Hash of the towers that made the embeddings you send. If the index was built by other towers, the
                call fails with `ServerNotReady` instead of returning unrelated products: embed again then. None: no
                such check.
            timeout_s: Deadline of the whole call in seconds. None: the client's.
            request_id: Names the call in the server's log and traces. None: a random one.
            traceparent: W3C trace context, `00-<trace id>-<span id>-<flags>`. None: the client's.
            headers: More gRPC metadata, names in lower case. Added to the client's.

        Returns:
            `Results`: one row per query, in order.

        Raises:
            ShopwindowError: One of its subclasses; the package lists them.
        """
        return self._run(
            self._calls.retrieve(
                queries,
                top_k=top_k,
                effort=effort,
                filter=filter,
                min_score=min_score,
                channels=channels,
                fusion=fusion,
                allow_lower_effort=allow_lower_effort,
                timings=timings,
                towers=towers,
                timeout_s=timeout_s,
                request_id=request_id,
                traceparent=traceparent,
                headers=headers,
            )
        )

    def retrieve_similar(
        self,
        products: Product | Sequence[Product] | None = None,
        *,
        title: str | None = None,
        image: ImageSource | None = None,
        top_k: int | None = None,
        effort: int | None = None,
        filter: FilterLike | None = None,
        min_score: float | None = None,
        channels: str | None = None,
        fusion: str | None = None,
        allow_lower_effort: bool = False,
        timings: bool = False,
        towers: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ResultsT:
        """Find the products that are like a product, a photo, or a photo changed by words.

        The options not listed here are those of `retrieve`. `channels` and `fusion` work only in `retrieve`.

        Args:
            products: One product, or any number of them.
            title: With `image`, short for one `Product(title, image)`, as in
                `retrieve_similar(image="mug.jpg", title="red")`.
            image: See `Product.image`.

        Returns:
            `Results`: one row per product, in order.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(
            self._calls.retrieve_similar(
                products,
                title,
                image,
                top_k=top_k,
                effort=effort,
                filter=filter,
                min_score=min_score,
                channels=channels,
                fusion=fusion,
                allow_lower_effort=allow_lower_effort,
                timings=timings,
                towers=towers,
                timeout_s=timeout_s,
                request_id=request_id,
                traceparent=traceparent,
                headers=headers,
            )
        )

    def retrieve_by_embedding(
        self,
        embeddings: npt.ArrayLike,
        *,
        top_k: int | None = None,
        effort: int | None = None,
        filter: FilterLike | None = None,
        min_score: float | None = None,
        channels: str | None = None,
        fusion: str | None = None,
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
        min_score: float | None = None,
        channels: str | None = None,
        fusion: str | None = None,
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
                allow_lower_effort=allow_lower_effort,
                timings=timings,
                towers=towers,
                timeout_s=timeout_s,
                request_id=request_id,
                traceparent=traceparent,
                headers=headers,
            )
        )
