"""The products that qualify for one query, best first, fetched only as far as a page needs them.

A boost acts before the cut: no product that it would lift into the page may be missed. An engine finds products by
similarity alone. If its worst candidate has the similarity s, every product that it left out has at most s, and so at
most the final score `Boosts.bound(s)`. All candidates above that bound have their final places (the threshold algorithm
of Fagin, Lotem and Naor 2001). If these are too few, more candidates are fetched, and at last all products are scored.
So the order is exact wherever the engine is.

An approximate engine may find a better product only when it is asked for more. Such a product comes behind those that
have their places already. So the ranking is the same however far it is read, and pages never repeat or miss a product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shopwindow.retrieval.page.boosts import Boosts
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.page.page_request import PLACES, PageRequest
from shopwindow.retrieval.request.parameters import MAX_EFFORT, RequestParameters
from shopwindow.retrieval.search.cut_off import threshold
from shopwindow.retrieval.search.fusion import fuse
from shopwindow.retrieval.search.product_index import ProductIndex

# How many candidates are fetched at a time. The first numbers cover the first pages of most requests in one search: 256
# cost hardly more than 48. Boosts move products up from further behind, and sorts are often among 500.
STAGES = (256, 1_024, 4_096, 32_768)
LONG_STAGES = (512, 4_096, 32_768)
_SPARE = 16  # the last candidate has no place yet, nor have others with its very score
_FUSED_STAGES = (100, 512, 4_096, 32_768)  # the first is as deep as a request without a page, see `by_channels`
_BLOCK = 2_048  # rows scored at a time: their vectors stay in the processor's cache
# If at least one row in so many is scored, reading all vectors in order is faster than picking some.
_DENSE = 4
# If at most so many products for each candidate of a stage qualify, scoring all of them is about as fast, and exact.
SCORED_FOR_A_CANDIDATE = 16


def _stages(page: PageRequest | None) -> tuple[int, ...]:
    return LONG_STAGES if page is not None and (page.boost or page.sort is not None) else STAGES


def _judged_depth(parameters: RequestParameters) -> int:
    """Return how deep a merged ranking goes to look for products that reach `min_score`.

    It does not grow with the offset: all pages must be cut from the same products, and count the same ones.
    """
    return max(_FUSED_STAGES[1], parameters.top_k)


def first_depth(parameters: RequestParameters, excluded: int) -> int:
    """Return how many products to fetch first for the rankings of a request.

    It is the same for all pages of a ranking: otherwise an approximate engine might give them different products.

    Args:
        parameters: the request's parameters.
        excluded: how many products may not be found, at most, for one of its queries.
    """
    page = parameters.page
    if parameters.channels == Channel.EMBEDDING and (page is None or not page.ranks):  # nobody reads a further page
        return parameters.top_k + excluded + _SPARE
    return _stages(page)[0]


@dataclass(frozen=True)
class Places:
    """Places of a ranking, best first.

    Attributes:
        rows: (places,) int64, row numbers in the index.
        scores: (places,) float32, final scores.
        channels: (places,) int64, bit mask of the `Channel`s that found each product.
    """

    rows: np.ndarray
    scores: np.ndarray
    channels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: np.ndarray | slice) -> Places:
        return Places(self.rows[chosen], self.scores[chosen], self.channels[chosen])

    @classmethod
    def none(cls) -> Places:
        """No places."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))

    def then(self, other: Places) -> Places:
        """Return these places followed by others."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Places(*(np.concatenate(pair) for pair in pairs))


class Ranking:
    """The ranking of one query.

    Args:
        index: the index to search.
        embedding: (dim,) float32; unused if the request does not ask for the embedding channel.
        query: the query's words; unused if the request does not ask for the lexical channel.
        parameters: the request's parameters, checked.
        boosts: the boosts of the request on this index; None if it has none.
        excluded: row numbers that may not be found, int64.
        first: the result of the first search by embedding, `first_depth` scores and rows; None searches when needed.

    Attributes:
        places: the places that are known.
        complete: whether these are all products that qualify, apart from `min_score`.
    """

    def __init__(
        self,
        index: ProductIndex,
        embedding: np.ndarray,
        query: str,
        parameters: RequestParameters,
        boosts: Boosts | None,
        excluded: np.ndarray,
        first: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.index = index
        self.embedding = embedding
        self.query = query
        self.parameters = parameters
        self.boosts = boosts
        self.excluded = excluded
        self.places = Places.none()
        self.complete = False
        self._bound = np.inf  # no product that is still unknown has a higher final score
        self._stages = list(_FUSED_STAGES if parameters.channels == Channel.BOTH else _stages(parameters.page))
        self._first = first
        self._judged_depth = _judged_depth(parameters)
        self._merged_depth = 0
        self._parts: tuple[Ranking, Ranking] | None = None  # in a merged ranking, those of the two channels
        self._scored: tuple[np.ndarray, np.ndarray] | None = None  # rows without a place, once all are scored
        self._depth = STAGES[0]  # of those, so many get their places next

    def filtered(self, parameters: RequestParameters) -> Ranking:
        """Return the ranking of the same query with other parameters."""
        return Ranking(self.index, self.embedding, self.query, parameters, self.boosts, self.excluded)

    def take(self, count: int) -> Places:
        """Return at least the first `count` places, or all there are."""
        while len(self.places) < count and not self.complete:
            self._extend()
        return self.places

    @property
    def least(self) -> float | None:
        """The least score that the request's `min_score` asks for; None if it has none."""
        best = np.full(1, -np.inf, np.float32)
        if self.parameters.min_score_of_best is not None and len(places := self.take(1)):
            best = places.scores[:1]
        found = threshold(best, self.parameters)
        return None if found is None else float(found[0])

    def good(self, count: int) -> Places:
        """Return the first `count` places, or more, that reach the request's `min_score`; or all there are."""
        least = self.least
        if least is None:
            return self.take(count)
        while len(places := self.places[self.places.scores >= least]) < count and not self._settled(least):
            self._extend()
        return places

    def all_good(self) -> Places:
        """Return all places that reach the request's `min_score`.

        In a merged ranking these are only the candidates of a limited depth. The others have no merged score.
        """
        return self.good(len(self.index.product_ids) + 1)

    def _settled(self, least: float) -> bool:
        """Return whether no further product can reach a score."""
        if self.parameters.channels == Channel.BOTH:
            return self.complete or self._merged_depth >= self._judged_depth
        return self.complete or self._bound < least

    def _extend(self) -> None:
        """Fetch more candidates, and append those whose places are certain."""
        if self._scored is not None:
            self._append_scored()
        elif self.parameters.channels == Channel.BOTH:
            self._extend_merged()
        elif self.parameters.channels == Channel.LEXICAL:
            self._scored = self._unknown(*self._scored_words())
        else:
            self._extend_by_embedding()

    def _extend_by_embedding(self) -> None:
        qualify = self.index.count_satisfying(self.parameters.filter)
        in_memory = self.index.folder is not None
        if self._first is not None:
            (scores, rows), self._first = self._first, None
            depth = len(rows)
            self._stages = [stage for stage in self._stages if stage > 2 * depth]
        else:
            depth = self._stages.pop(0) if self._stages else qualify
            begun = self._bound < np.inf
            if in_memory and (depth > STAGES[-1] or (begun and qualify <= SCORED_FOR_A_CANDIDATE * depth)):
                self._score_all()
                return
            asked = replace(self.parameters.uncut(), top_k=depth if in_memory else min(depth, PLACES))
            if begun and self.boosts is not None:  # at the same effort, fewer of these would be found
                asked = replace(asked, effort=min(asked.effort + 1, MAX_EFFORT))
            (found,) = self.index.search_batch([(self.embedding[None], asked)])
            scores, rows = found.scores[0], found.rows[0]
        scores, rows = scores[rows >= 0], rows[rows >= 0]
        if in_memory:
            # Scored in one way, so that neither the engine nor the other queries of its batch decide between products
            # that score nearly alike.
            scores = self.similarities(rows)
        whole = depth >= qualify or (depth >= PLACES and not in_memory) or self._too_far(scores)
        if whole or len(scores):  # else nothing is known yet
            self._bound = -np.inf if whole else self._most(float(scores.min()))
        rows, final = self._unknown(rows, scores)
        certain = final > self._bound  # one with this very score waits: an unknown product may come before it
        self._append(rows[certain], final[certain])

    def _too_far(self, scores: np.ndarray) -> bool:
        """Return whether the worst candidate is below the least similarity, so that no unknown product reaches it."""
        least = self.parameters.min_similarity
        return least is not None and len(scores) > 0 and bool(scores.min() < least)

    def _score_all(self) -> None:
        """Score all products that satisfy the filter."""
        mask = self.index.mask(self.parameters.filter)
        rows = np.arange(len(self.index.product_ids)) if mask is None else np.flatnonzero(mask.rows)
        self._scored = self._unknown(rows, self.similarities(rows))

    def _append_scored(self) -> None:
        """Append the best of all products that are left, when all are scored."""
        assert self._scored is not None
        rows, final = self._scored
        depth, self._depth = self._depth, self._depth * 8
        least = len(rows) - depth  # the place of the last one among them, from the worst
        self._bound = -np.inf if least <= 0 else float(np.partition(final, least)[least])
        certain = final > self._bound
        self._scored = rows[~certain], final[~certain]
        self._append(rows[certain], final[certain])

    def _append(self, rows: np.ndarray, final: np.ndarray) -> None:
        order = np.lexsort((rows, -final))
        channels = np.full(len(rows), int(self.parameters.channels), np.int64)
        self.places = self.places.then(Places(rows[order], final[order], channels))
        self.complete = self._bound == -np.inf

    def _unknown(self, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the candidates that have no place yet and may be found, and their final scores."""
        if (least := self.parameters.min_similarity) is not None:
            rows, scores = rows[scores >= least], scores[scores >= least]
        final = scores if self.boosts is None else self.boosts.apply(scores, rows)
        known = np.concatenate([self.places.rows, self.excluded])
        if not len(known):
            return rows, final
        if self.index.folder is None or len(rows) * _DENSE < len(self.index.product_ids):
            new = ~np.isin(rows, known)
        else:  # a byte for each product is faster than sorting
            unknown = np.ones(len(self.index.product_ids), bool)
            unknown[known] = False
            new = unknown[rows]
        return rows[new], final[new]

    def _extend_merged(self) -> None:
        """Merge the first places of both channels, deeper each time."""
        if self._parts is None:
            first, self._first = self._first, None
            one = self.parameters.uncut()
            by_embedding = self.filtered(replace(one, channels=Channel.EMBEDDING))
            by_embedding._first = first
            self._parts = by_embedding, self.filtered(replace(one, channels=Channel.LEXICAL))
        depth = self._stages.pop(0) if self._stages else max(1, len(self.index.product_ids))
        self._merged_depth = depth
        found = [part.take(depth)[:depth] for part in self._parts]
        embedding, lexical = ((places.rows, places.scores) for places in found)
        rows, scores, channels = fuse(embedding, lexical, weight=self.parameters.embedding_weight)
        new = ~np.isin(rows, self.places.rows)
        self.places = self.places.then(Places(rows[new], scores[new].astype(np.float32), channels[new]))
        self.complete = all(part.complete and len(part.places) <= depth for part in self._parts)

    def _most(self, similarity: float) -> float:
        return similarity if self.boosts is None else self.boosts.bound(similarity)

    def similarities(self, rows: np.ndarray) -> np.ndarray:
        """Return inner products with stored vectors, (len(rows),) float32. Each is independent of the other rows."""
        vectors, query = self.index.vectors, self.embedding.astype(np.float32, copy=False)
        every = len(rows) * _DENSE >= len(vectors)
        scores = np.empty(len(vectors) if every else len(rows), np.float32)
        for start in range(0, len(scores), _BLOCK):
            block = slice(start, start + _BLOCK)
            np.einsum("ij,j->i", vectors[block if every else rows[block]], query, out=scores[block])
        return scores[rows] if every else scores

    def places_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the place of each row among those that are known, from 0, int64; their number for the others."""
        known = self.places.rows
        if not len(known):
            return np.zeros(len(rows), np.int64)
        order = np.argsort(known)
        found = order[np.searchsorted(known, rows, sorter=order).clip(max=len(known) - 1)]
        return np.where(known[found] == rows, found, len(known))

    def word_scores(self, mask: np.ndarray | None) -> np.ndarray:
        """Return the BM25 score of every product, (rows,) float32; 0 for those that a mask (rows,) bool leaves out."""
        assert self.index.lexical is not None  # `check_channels` has checked it
        return self.index.lexical.scores(self.query, mask)

    def _scored_words(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that share a word with the query, and their BM25 scores."""
        mask = self.index.mask(self.parameters.filter)
        scores = self.word_scores(None if mask is None else mask.rows)
        rows = np.flatnonzero(scores > 0)
        return rows, scores[rows]

    def final_scores(self, rows: np.ndarray) -> np.ndarray:
        """Return final scores of any rows, (len(rows),) float32: by words if only these are searched."""
        if self.parameters.channels == Channel.LEXICAL:
            scores = self.word_scores(None)[rows]
        else:
            scores = self.similarities(rows)
        return scores if self.boosts is None else self.boosts.apply(scores, rows)
