"""Search by the channels that each request asks for: embeddings, words, or both merged.

Each channel finds products that the other misses. Taobao Search, too, serves embeddings beside an inverted word index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.retrieval.search.exact import PAD_ID, PAD_SCORE, SearchResult
from shopwindow.retrieval.search.fusion import Ranking, fuse
from shopwindow.retrieval.search.product_index import ProductIndex

# Each channel gives at least this many products to a merged ranking, because a product that both channels rank low may
# come first. It also makes the results of top_k 10 the first 10 results of top_k 100.
FUSED_DEPTH = 100

ChannelRequest = tuple[np.ndarray, Sequence[str], RequestParameters]
"""Embeddings (batch, dim) float32, queries (batch) and parameters. Each input is unused if the request does not ask for
its channel."""


def check_channels(index: ProductIndex, parameters: RequestParameters, *, words: bool) -> None:
    """Check that a request can be answered by the channels that it asks for.

    Args:
        index: the index to search.
        parameters: parameters of the request.
        words: whether the request has a text to search with.

    Raises:
        InvalidRequest: the request has no text, or the index has no lexical channel.
    """
    if Channel.LEXICAL not in parameters.channels:
        return
    got = "lexical" if parameters.channels == Channel.LEXICAL else "embedding,lexical"
    if not words:
        raise InvalidRequest(
            "channels",
            f"must be embedding if the request has no query text, got '{got}'; the model `retrieve` has both channels",
        )
    if index.lexical is None:
        raise InvalidRequest(
            "channels",
            f"must be embedding because the served index has no lexical channel, got '{got}'; rebuild it with "
            "'shopwindow index' from a catalogue with titles",
        )


def search_channels(index: ProductIndex, requests: Sequence[ChannelRequest]) -> list[SearchResult]:
    """Answer several requests at once, each as if it came alone.

    Args:
        index: the index to search.
        requests: requests that `ProductIndex.check` and `check_channels` accept.

    Returns:
        One result per request, in order. The lexical channel finds only products that share a word with the query. Its
        scores are BM25 scores; merged scores are those of `fuse`. min_score applies to these scores.
    """
    through_embedding = [i for i, (_, _, parameters) in enumerate(requests) if Channel.EMBEDDING in parameters.channels]
    found = index.search_batch([(requests[i][0], _for_embedding_channel(requests[i][2])) for i in through_embedding])
    by_embedding = dict(zip(through_embedding, found, strict=True))
    results = []
    for position, (_, queries, parameters) in enumerate(requests):
        result = by_embedding.get(position)
        if Channel.LEXICAL in parameters.channels:
            result = _add_lexical(index, queries, parameters, result)
        assert result is not None  # every request asks for a channel
        results.append(result)
    return results


def _for_embedding_channel(parameters: RequestParameters) -> RequestParameters:
    """Return the parameters for the search by embeddings, which must be deeper if its result will be merged."""
    if parameters.channels == Channel.EMBEDDING:
        return parameters
    return replace(parameters, top_k=max(parameters.top_k, FUSED_DEPTH), min_score=None)


def _add_lexical(
    index: ProductIndex, queries: Sequence[str], parameters: RequestParameters, by_embedding: SearchResult | None
) -> SearchResult:
    """Search the lexical channel and merge its result with that of the embedding channel, if there is one."""
    rows = np.full((len(queries), parameters.top_k), -1, dtype=np.int64)
    scores = np.full(rows.shape, PAD_SCORE, dtype=np.float32)
    channels = np.zeros(rows.shape, dtype=np.int64)
    for place, query in enumerate(queries):
        ranking = _search_lexical(index, query, parameters)
        if by_embedding is None:
            products, points = ranking
            tags = np.full(len(products), int(Channel.LEXICAL))
        else:
            real = by_embedding.rows[place] >= 0
            other = by_embedding.rows[place][real], by_embedding.scores[place][real]
            products, points, tags = fuse(other, ranking, weight=parameters.embedding_weight)
        kept = min(len(products), parameters.top_k)
        if parameters.min_score is not None:
            kept = int(np.count_nonzero(points[:kept].astype(np.float32) >= parameters.min_score))
        rows[place, :kept], scores[place, :kept], channels[place, :kept] = products[:kept], points[:kept], tags[:kept]
    return SearchResult(np.where(rows >= 0, index.product_ids[rows], PAD_ID), scores, channels, rows)


def _search_lexical(index: ProductIndex, query: str, parameters: RequestParameters) -> Ranking:
    assert index.lexical is not None  # `check_channels` has checked it
    k = max(parameters.top_k, FUSED_DEPTH) if parameters.channels == Channel.BOTH else parameters.top_k
    mask = index.mask(parameters.filter)
    scores, rows = index.lexical.search(query, k, None if mask is None else mask.rows)
    return rows, scores
