"""Search by the channels that each request asks for: embeddings, words, or both merged.

Each channel finds products that the other misses. Taobao Search, too, serves embeddings beside an inverted word index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.min_score_reading import FIELD as MIN_SCORE
from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.retrieval.search.cut_off import cut_off, resolve
from shopwindow.retrieval.search.exact import PAD_SCORE, SearchResult
from shopwindow.retrieval.search.fusion import Found, fuse
from shopwindow.retrieval.search.pages import page_of
from shopwindow.retrieval.search.product_index import ProductIndex
from shopwindow.retrieval.search.ranking import Ranking, first_depth

# Each channel gives at least this many products to a merged ranking, because a product that both channels rank low may
# come first. It also makes the results of top_k 10 the first 10 results of top_k 100.
FUSED_DEPTH = 100


class ChannelRequest(NamedTuple):
    """A request to search. Inputs of channels that it does not ask for are unused.

    Attributes:
        embeddings: (batch, dim) float32.
        queries: (batch) texts.
        parameters: the request's parameters.
        excluded: for each query, the row numbers that may not be found, int64; empty if all may be.
    """

    embeddings: np.ndarray
    queries: Sequence[str]
    parameters: RequestParameters
    excluded: Sequence[np.ndarray] = ()


def check_channels(index: ProductIndex, parameters: RequestParameters, *, words: bool) -> None:
    """Check that a request can be answered by the channels that it asks for.

    Args:
        index: the index to search.
        parameters: parameters of the request.
        words: whether the request has a text to search with.

    Raises:
        InvalidRequest: the request has no text, which the lexical channel and `precision:` need, or the index has no
            lexical channel.
    """
    if parameters.min_precision is not None and not words:
        raise InvalidRequest(
            MIN_SCORE,
            "may be precision: only if the request has a query text, because only scores of words are calibrated, got "
            f"'precision:{parameters.min_precision:g}'; send `query` beside its embedding, or give a number or best*X",
        )
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
    requests = [ChannelRequest(*request) for request in requests]
    # Only here, because every search of a request passes here.
    requests = [each._replace(parameters=resolve(each.parameters, index.calibration)) for each in requests]
    through_embedding = [i for i, request in enumerate(requests) if Channel.EMBEDDING in request.parameters.channels]
    found = index.search_batch(
        [(requests[i].embeddings, _for_embedding_channel(requests[i])) for i in through_embedding]
    )
    by_embedding = dict(zip(through_embedding, found, strict=True))
    results = []
    for position, request in enumerate(requests):
        result = by_embedding.get(position)
        if _ranks(request):
            results.append(_paged(index, request, result))
            continue
        if Channel.LEXICAL in request.parameters.channels:
            result = _add_lexical(index, request.queries, request.parameters, result)
        assert result is not None  # every request asks for a channel
        if request.parameters.page is not None:
            result = replace(result, rankings=_rankings(index, request, None))
        results.append(result)
    return results


def _ranks(request: ChannelRequest) -> bool:
    page = request.parameters.page
    return bool(request.excluded) or (page is not None and page.ranks)


def _for_embedding_channel(request: ChannelRequest) -> RequestParameters:
    """Return the parameters for the search by embeddings, which is deeper if its result is ordered or merged later."""
    parameters = request.parameters
    if _ranks(request):
        depth = first_depth(parameters, max(map(len, request.excluded), default=0))
        return replace(parameters.uncut(), top_k=depth)
    if parameters.channels == Channel.EMBEDDING:
        return parameters
    return replace(parameters.uncut(), top_k=max(parameters.top_k, FUSED_DEPTH))


def _rankings(index: ProductIndex, request: ChannelRequest, found: SearchResult | None) -> list[Ranking]:
    """Return the ranking of each query of a request.

    Args:
        index: the index.
        request: the request.
        found: what the first search by embeddings found; None if there was none.
    """
    page, count = request.parameters.page, max(len(request.embeddings), len(request.queries))
    boosts = index.boosts(page.boost) if page is not None and page.boost else None
    none, no_words = np.empty(0, np.int64), [""] * count
    queries = request.queries or no_words
    embeddings = request.embeddings if len(request.embeddings) else np.empty((count, 0), np.float32)
    return [
        Ranking(
            index,
            embeddings[place],
            queries[place],
            request.parameters,
            boosts,
            request.excluded[place] if request.excluded else none,
            None if found is None else (found.scores[place], found.rows[place]),
        )
        for place in range(count)
    ]


def _paged(index: ProductIndex, request: ChannelRequest, found: SearchResult | None) -> SearchResult:
    """Cut the page of each query out of its ranking."""
    rankings = _rankings(index, request, found)
    shape = len(rankings), request.parameters.top_k
    rows = np.full(shape, -1, np.int64)
    scores = np.full(shape, PAD_SCORE, np.float32)
    channels = np.zeros(shape, np.int64)
    for place, ranking in enumerate(rankings):
        page = page_of(ranking)
        held = slice(len(page))
        rows[place, held], scores[place, held], channels[place, held] = page.rows, page.scores, page.channels
    return SearchResult(index.ids_of(rows), scores, channels, rows, rankings)


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
        if (enough := cut_off(points[None, :kept].astype(np.float32), parameters)) is not None:
            kept = int(np.count_nonzero(enough))
        rows[place, :kept], scores[place, :kept], channels[place, :kept] = products[:kept], points[:kept], tags[:kept]
    return SearchResult(index.ids_of(rows), scores, channels, rows)


def _search_lexical(index: ProductIndex, query: str, parameters: RequestParameters) -> Found:
    assert index.lexical is not None  # `check_channels` has checked it
    k = max(parameters.top_k, FUSED_DEPTH) if parameters.channels == Channel.BOTH else parameters.top_k
    mask = index.mask(parameters.filter)
    scores, rows = index.lexical.search(query, k, None if mask is None else mask.rows)
    return rows, scores
