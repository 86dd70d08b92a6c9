"""The public calls that find products, declared once for both clients."""

# `_run` returns a result or a coroutine, depending on the client. No type can say that of one method.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._values.requests import FilterLike, ImageSource, Product
from ._vector_searches import ResultsT, VectorSearches


class Searches(VectorSearches[ResultsT]):
    """All searches. `retrieve` explains their options."""

    def retrieve(
        self,
        queries: str | Sequence[str],
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
        """Find the products that match a shopper's words.

        Args:
            queries: One query, or any number of them.
            top_k: How many products to find for each query. None: the server's default.
            effort: How thoroughly to search, from 1 (fastest) to 10 (most thorough). None: the server's default.
            filter: Conditions that products must meet: `field("price") < 50`, or what the server reads, as a mapping
                or its JSON: `{"colour": "red", "price": {"lt": 50}, "brand": {"in": ["a", "b"]}}`.
            min_score: Leave out products that score less. "best*0.85": less than this share of the best product's
                score. "precision:0.8", only in `retrieve`: less than the score from which on at least 80 % of
                products are right, by the calibration of the server's towers. None: leave out none.
            channels: What finds products: "embedding", "lexical" or "embedding,lexical". All but the first need words;
                `Results.channels` then tells which channel found each product. None: the server's default, "embedding".
            fusion: How to merge two channels: "rrf", or "weighted:0.7", where 0.7 is the weight of the embedding
                channel. None: the server's default, "rrf".
            fields: Columns of the catalogue to return beside each product, at most 50, as `Results.attributes`. None:
                none.
            total: Also count the products that qualify, as `Results.total`: those that satisfy `filter` and, in a
                search by one channel, `min_score`. With `collapse`, count groups.
            facets: Values to count among the products that qualify, by column, as `Results.facets`:
                `{"colour": 20}` lists the 20 most frequent colours, `{"price": {"ranges": [0, 25, 50, None]}}` counts
                from 0 to below 25, from 25 to below 50 and above. Each column is counted without the filter's own
                conditions on it. At most 20 columns. None: count nothing.
            facet_over: Count facets over this many first places of the ranking, 1 to 10,000. None: over all products
                that qualify.
            collapse: A column. Of products with the same value, return only the first in the ranking, and
                `Results.group_sizes`. `{"by": "style", "members": 5}` also returns the ids of the first 5 of each
                group, as `Results.group_members`. None: return all.
            boost: Up to 10 terms that change scores before products are chosen. `{"if": field("stock") > 0,
                "multiply": 1.2}` or `{"if": ..., "add": 0.05}` concern the products that satisfy a filter.
                `{"column": "margin", "add": 0.1}` adds 0.1 times the value, and `{"column": "sales", "multiply": 0.2}`
                multiplies by 1 + 0.2 times the value. For a date,
                `{"column": "made", "half_life_days": 30, "add": 0.1}` takes a value that is 1 today and half of it for
                each 30 days of age. None: the scores of the search.
            sort: `{"by": "price", "order": "desc", "among": 500}` orders the first 500 places of the ranking by a
                column. Without `among`, all products of at least `min_score`. The order is "asc" if not given. Products
                without a value come last. None: order by score.
            diversity: Above 0 and up to 1: how much to prefer products that differ from those before them, over the
                first 200 places. Not with `sort`. None: not at all.
            offset: How many places to skip: the page's number times `top_k`. `offset` and `top_k` are 10,000 at most
                together. 0 also tells the generation, for the next page. None: 0.
            generation: The generation of the index that must answer, as `Results.generation` of an earlier page told
                it, so that no product comes twice or is left out. If it is gone, the call fails with
                `GenerationGone`. None: the current one.
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

    def retrieve_similar(
        self,
        products: Product | Sequence[Product] | None = None,
        *,
        title: str | None = None,
        image: ImageSource | None = None,
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
