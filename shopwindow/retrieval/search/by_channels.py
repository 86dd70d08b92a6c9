"""Search through the channels that each request wants: embeddings, words, or both merged.

Each channel finds what the other misses. Taobao Search, too, serves embeddings beside an inverted index of words.
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

# Each channel gives at least so many products to a merged ranking: one that both found but ranked low may come first,
# and so the first 10 of top_k 10 are the first 10 of top_k 100.
FUSED_DEPTH = 100

ChannelRequest = tuple[np.ndarray, Sequence[str], RequestParameters]
"""Embeddings (batch, dim) float32, unused where the embedding channel is not wanted; queries (batch), unused where the
lexical one is not; parameters."""


def check_channels(index: ProductIndex, parameters: RequestParameters, *, words: bool) -> None:
    """Check that the channels which a request wants are there.

    Args:
        index: what would be searched.
        parameters: of the request.
        words: whether the request has a text to search with.

    Raises:
        InvalidRequest: there is no text, or the index has no lexical channel.
    """
    if Channel.LEXICAL not in parameters.channels:
        return
    got = "lexical" if parameters.channels == Channel.LEXICAL else "embedding,lexical"
    if not words:
        raise InvalidRequest(
            "channels",
            f"must be embedding where there is no query to take words from, got '{got}'; the model `retrieve` has both",
        )
    if index.lexical is None:
        raise InvalidRequest(
            "channels",
            f"must be embedding, as the served index has no lexical channel, got '{got}'; rebuild it with 'shopwindow "
            "index' from a catalogue with titles",
        )


def search_channels(index: ProductIndex, requests: Sequence[ChannelRequest]) -> list[SearchResult]:
    """Answer several requests at once, each as if it were alone.

    Args:
        index: what is searched.
        requests: such as `ProductIndex.check` and `check_channels` accept.

    Returns:
        One result per request, in order. The lexical channel finds only products that share a word with the query; its
        scores are those of BM25, merged ones those of `fuse`, and min_score refers to them.
    """
    through_embedding = [i for i, (_, _, wanted) in enumerate(requests) if Channel.EMBEDDING in wanted.channels]
    found = index.search_batch([(requests[i][0], _embedding_part(requests[i][2])) for i in through_embedding])
    by_embedding = dict(zip(through_embedding, found, strict=True))
    results = []
    for position, (_, queries, wanted) in enumerate(requests):
        result = by_embedding.get(position)
        if Channel.LEXICAL in wanted.channels:
            result = _with_words(index, queries, wanted, result)
        assert result is not None  # every request wants a channel
        results.append(result)
    return results


def _embedding_part(wanted: RequestParameters) -> RequestParameters:
    """What to ask the embedding channel for."""
    if wanted.channels == Channel.EMBEDDING:
        return wanted
    return replace(wanted, top_k=max(wanted.top_k, FUSED_DEPTH), min_score=None)


def _with_words(
    index: ProductIndex, queries: Sequence[str], wanted: RequestParameters, by_embedding: SearchResult | None
) -> SearchResult:
    ids = np.full((len(queries), wanted.top_k), PAD_ID, dtype=np.int64)
    scores = np.full(ids.shape, PAD_SCORE, dtype=np.float32)
    channels = np.zeros(ids.shape, dtype=np.int64)
    for row, query in enumerate(queries):
        ranking = _search_words(index, query, wanted)
        if by_embedding is None:
            products, points = ranking
            tags = np.full(len(products), int(Channel.LEXICAL))
        else:
            real = by_embedding.product_ids[row] != PAD_ID
            other = by_embedding.product_ids[row][real], by_embedding.scores[row][real]
            products, points, tags = fuse(other, ranking, weight=wanted.embedding_weight)
        kept = min(len(products), wanted.top_k)
        if wanted.min_score is not None:
            kept = int(np.count_nonzero(points[:kept].astype(np.float32) >= wanted.min_score))
        ids[row, :kept], scores[row, :kept], channels[row, :kept] = products[:kept], points[:kept], tags[:kept]
    return SearchResult(ids, scores, channels)


def _search_words(index: ProductIndex, query: str, wanted: RequestParameters) -> Ranking:
    assert index.lexical is not None  # `check_channels`
    k = max(wanted.top_k, FUSED_DEPTH) if wanted.channels == Channel.BOTH else wanted.top_k
    mask = index.mask(wanted.filter)
    scores, rows = index.lexical.search(query, k, None if mask is None else mask.rows)
    return index.product_ids[rows], scores
