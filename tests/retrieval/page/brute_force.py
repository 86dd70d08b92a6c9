"""The page that a request must get, by brute force in plain Python. It shares nothing with the code under test.

Only the scores of the lexical channel are taken as given: `LexicalIndex` has tests of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from tests.retrieval.page.plain_filters import Expression, Product, comparable, holds, read, values_of, without

NEAR = 1e-5  # scores that differ by less may come in any order, because they are float32 in the reply
RRF_K = 60
DIVERSE_PLACES = 200


class Undecided(Exception):
    """Two scores are so close that rounding decides. The request has more than one right answer."""


@dataclass(frozen=True)
class Shop:
    """What the judge knows of an index.

    Attributes:
        vectors: (rows, dim) float64.
        ids: a product id for each row. Rows that are not alive may repeat ids.
        products: column -> value for each row; None or NaN if the value is missing.
        alive: whether each row can be found.
    """

    vectors: np.ndarray
    ids: list[Any]
    products: list[Product]
    alive: list[bool]

    def liked(self, weights: dict[int, float]) -> tuple[np.ndarray, dict[Any, float]]:
        """Return what to search with for some products that can be found.

        Args:
            weights: number -> weight; products are numbered in row order, again and again.

        Returns:
            (dim,) float64, the weighted sum of their vectors, not normalised; and the weight of each id.
        """
        found = [row for row, alive in enumerate(self.alive) if alive]
        by_row = {found[number % len(found)]: weight for number, weight in weights.items()}
        total: np.ndarray = sum(weight * self.vectors[row] for row, weight in by_row.items())
        return total, {self.ids[row]: weight for row, weight in by_row.items()}


@dataclass(frozen=True)
class Place:
    """A product in a ranking.

    Attributes:
        row: its row.
        score: its final score.
        channels: 1 if the embedding channel found it, 2 for the lexical one, 3 for both.
        made_of: what the score was computed from. Products whose scores were made of the same numbers have equal ones.
    """

    row: int
    score: float
    channels: int
    made_of: Any


@dataclass(frozen=True)
class Page:
    """The answer to one query. Lists are in result order and without padding.

    Attributes:
        places: the products of the page.
        every: the products of all pages.
        total, facets, group_sizes, group_members: the outputs, read from JSON. None if not asked for.
    """

    places: list[Place]
    every: list[Place]
    total: int
    facets: dict[str, list[dict[str, Any]]] | None = None
    group_sizes: list[int] | None = None
    group_members: list[list[Any]] | None = None


@dataclass(frozen=True)
class Query:
    """One query with its request, and the steps that lead to its page.

    Attributes:
        shop: the products.
        request: the parameters as Python values.
        vector: (dim,) float64; unused without the embedding channel.
        words: BM25 score of each row; unused without the lexical channel.
        excluded: ids that the answer must not have.
    """

    shop: Shop
    request: dict[str, Any]
    vector: np.ndarray
    words: Sequence[float]
    excluded: frozenset[Any] = field(default_factory=frozenset)

    @property
    def channels(self) -> set[str]:
        return {name.strip() for name in self.request.get("channels", "embedding").split(",")}

    @property
    def filter(self) -> Expression:
        """The filter of the request."""
        return read(self.request.get("filter", {}))

    def page(self) -> Page:
        """Return the answer.

        Raises:
            Undecided: rounding decides what the answer is.
        """
        request, products, filter = self.request, self.shop.products, self.filter
        threshold = self.threshold(filter)
        ranking = self.ranking(filter, threshold)
        qualifying = self.qualifying(filter, threshold)
        every = ranking
        if "sort" in request:
            every = _sorted(ranking[: request["sort"].get("among")], products, **request["sort"])
        groups: dict[Any, list[Place]] = {}
        column, members = self.collapse
        if column is not None:
            for place in ranking:
                groups.setdefault(self.group(place.row), []).append(place)
            first: dict[Any, Place] = {}
            for place in every:
                first.setdefault(self.group(place.row), place)
            every = list(first.values())
        if "diversity" in request:
            every = _diverse(every, self.shop.vectors, request["diversity"])
        offset = request.get("offset", 0)
        places = every[offset : offset + request.get("top_k", 100)]
        return Page(
            places=places,
            every=every,
            total=len(qualifying) if column is None else len({self.group(row) for row in qualifying}),
            facets=self.facets(filter, threshold) if "facets" in request else None,
            group_sizes=None
            if column is None
            else [sum(self.group(row) == self.group(place.row) for row in qualifying) for place in places],
            group_members=[
                [self.shop.ids[member.row] for member in groups[self.group(place.row)][:members]] for place in places
            ]
            if members
            else None,
        )

    def ranking(self, filter: Expression, threshold: float) -> list[Place]:
        """Return the products that a filter leaves and that reach the threshold, best first."""
        rows = self.rows(filter)
        # The sum of several vectors is rounded to float32, so that it decides between scores that should be equal.
        by_embedding = _by_score(self.scored_by_embedding(rows), NEAR, exact=not self.excluded)
        by_words = _by_score(self.scored([row for row in rows if self.words[row] > 0], self.words, 2), NEAR)
        if self.channels == {"embedding"}:
            ranking = by_embedding
        elif self.channels == {"lexical"}:
            ranking = by_words
        else:
            assert len(rows) <= 100, "how deep the channels go would matter"
            ranking = _by_score(_fused(by_embedding, by_words, self.request.get("fusion", "rrf")), self.near)
        return [place for place in ranking if self.reaches(place, threshold)]

    def rows(self, filter: Expression) -> list[int]:
        """Return the rows that can be found and satisfy a filter."""
        return [
            row
            for row, product in enumerate(self.shop.products)
            if self.shop.alive[row] and self.shop.ids[row] not in self.excluded and holds(filter, product)
        ]

    def scored_by_embedding(self, rows: list[int]) -> list[Place]:
        """Return rows with the boosted scores of the embedding channel, in the order given."""
        places = self.scored(rows, (self.shop.vectors * self.vector).sum(axis=1).tolist(), 1)
        if not self.excluded:
            return places
        return [replace(place, made_of=(*self.shop.vectors[place.row], *place.made_of[1:])) for place in places]

    def scored(self, rows: list[int], scores: Sequence[float], channel: int) -> list[Place]:
        """Return rows with the boosted scores of a channel, in the order given."""
        places = []
        for row in rows:
            factors, addends = boosts(self.request.get("boost", []), self.shop.products[row])
            score = scores[row] * math.prod(factors) + sum(addends)
            places.append(Place(row, score, channel, (scores[row], factors, addends)))
        return places

    def reaches(self, place: Place, threshold: float) -> bool:
        """Return whether a product has the score that it must have."""
        asked = self.request.get("min_score")
        itself = asked == "best*1" or (isinstance(asked, str) and threshold <= 0)  # the score of the best product
        sure = _is_exact(threshold) or itself
        if abs(place.score - threshold) < self.near and not (place.score == threshold and sure):
            raise Undecided(place, threshold)
        return place.score >= threshold

    @property
    def near(self) -> float:
        """Final scores that differ by less may come in any order. Merged scores are close together, and float64."""
        if len(self.channels) == 1:
            return NEAR
        return 1e-8 if self.request.get("fusion", "rrf") == "rrf" else 1e-6

    def has_ties(self) -> bool:
        """Return whether some products that satisfy the filter are equally near to the query."""
        scores = [
            place.score for place in replace(self, request={"filter": self.request.get("filter", {})}).page().every
        ]
        return len(set(scores)) < len(scores)

    def threshold(self, filter: Expression) -> float:
        """Return the score that a product must have."""
        asked = self.request.get("min_score")
        if asked is None:
            return -math.inf
        if not isinstance(asked, str) or not asked.startswith("best*"):
            return float(asked)
        ranking = self.ranking(filter, -math.inf)
        if not ranking:
            return -math.inf
        best = ranking[0].score  # a share of a score that is not above 0 says nothing: only the best qualifies
        return best * float(asked.removeprefix("best*")) if best > 0 else best

    def qualifying(self, filter: Expression, threshold: float) -> list[int]:
        """Return the rows that qualify, in row order."""
        return sorted(place.row for place in self.ranking(filter, threshold))

    @property
    def collapse(self) -> tuple[str | None, int]:
        """The column to collapse by and the number of members to list."""
        asked = self.request.get("collapse")
        return (asked["by"], asked.get("members", 0)) if isinstance(asked, dict) else (asked, 0)

    def group(self, row: int) -> Any:
        """Return what identifies a row's group. A product without a value stands alone."""
        column = self.collapse[0]
        has = values_of(self.shop.products[row][column]) if column is not None else []
        return ("value", has[0]) if has else ("alone", row)

    def facets(self, filter: Expression, threshold: float) -> dict[str, list[dict[str, Any]]]:
        """Return the counts of each facet, each without the filter's conditions on its own column."""
        counted = {}
        for column, asked in self.request["facets"].items():
            ranking = self.ranking(without(filter, column), threshold)[: self.request.get("facet_over")]
            # A group counts once for each value that one of its products has.
            having = {
                (self.group(place.row), value)
                for place in ranking
                for value in values_of(self.shop.products[place.row][column])
            }
            if isinstance(asked, dict):
                edges = asked["ranges"]
                counted[column] = [
                    {
                        "from": low,
                        "to": high,
                        "count": len({group for group, value in having if _within(value, low, high)}),
                    }
                    for low, high in pairwise(edges)
                ]
            else:
                counts = Counter(value for _, value in having)
                best = sorted(counts, key=lambda value: (-counts[value], value))[:asked]
                counted[column] = [{"value": shown(value), "count": counts[value]} for value in best]
        return counted


def boosts(terms: list[dict[str, Any]], product: Product) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the factors and the addends of a product's score."""
    factors, addends = [], []
    for term in terms:
        if "if" in term:
            value = 1.0 if holds(read(term["if"]), product) else 0.0
        else:
            has = values_of(product[term["column"]])
            value = float(0 if not has else _freshness(has[0], term) if "half_life_days" in term else has[0])
        if "add" in term:
            addends.append(term["add"] * value)
        else:
            factors.append(1 + term["multiply"] * value if "column" in term else term["multiply"] if value else 1.0)
    return tuple(factors), tuple(addends)


def _freshness(made: date, term: dict[str, Any]) -> float:
    now = datetime.combine(date.fromisoformat(term["now"]), datetime.min.time(), UTC)
    moment = made if isinstance(made, datetime) else datetime.combine(made, datetime.min.time(), UTC)
    age = max(timedelta(0), now - moment) / timedelta(days=1)
    return float(2 ** (-age / term["half_life_days"]))


def _by_score(places: list[Place], near: float, *, exact: bool = True) -> list[Place]:
    """Sort by falling score, equal ones in the order given. Raise Undecided if rounding could swap two."""
    ordered = sorted(places, key=lambda place: -place.score)
    for one, other in pairwise(ordered):
        close = one.score - other.score < near and one.made_of != other.made_of
        if close and not (exact and one.score == other.score and _is_exact(one.score)):
            raise Undecided(one, other)
    return ordered


def _is_exact(score: float) -> bool:
    """Return whether float32 holds a score, with bits to spare for the steps that lead to it."""
    return abs(score) < 16 and (Fraction(score) * 2**18).denominator == 1


def _fused(by_embedding: list[Place], by_words: list[Place], fusion: str) -> list[Place]:
    """Merge two rankings by reciprocal rank, or by stretched scores, in the order of the channels."""
    weight = None if fusion == "rrf" else float(fusion.removeprefix("weighted:"))
    found: dict[int, list[Place]] = {}
    for ranking, share in ((by_embedding, weight), (by_words, None if weight is None else 1 - weight)):
        for number, place in enumerate(ranking, 1):
            if share is None:
                points = 1 / (RRF_K + number)
            else:
                best, worst = ranking[0].score, ranking[-1].score
                points = share * ((place.score - worst) / (best - worst) if best > worst else 1.0)
            found.setdefault(place.row, []).append(Place(place.row, points, place.channels, points))
    return [
        Place(
            row, sum(one.score for one in parts), sum(one.channels for one in parts), sorted(one.score for one in parts)
        )
        for row, parts in found.items()
    ]


def _sorted(
    ranking: list[Place], products: list[Product], by: str, order: str = "asc", among: int | None = None
) -> list[Place]:
    having = [place for place in ranking if values_of(products[place.row][by])]
    missing = [place for place in ranking if not values_of(products[place.row][by])]
    # Python keeps the order of equal elements, also with reverse.
    return sorted(having, key=lambda place: products[place.row][by], reverse=order == "desc") + missing


def _diverse(places: list[Place], vectors: np.ndarray, strength: float) -> list[Place]:
    """Choose again and again the product with the largest (1 - strength) * score - strength * similarity.

    The score is stretched to 0 to 1, and the similarity is the largest one with a product chosen before.
    """
    left = list(range(len(places[:DIVERSE_PLACES])))
    rows = [places[one].row for one in left]
    alike = vectors[rows] @ vectors[rows].T
    scores = [places[one].score for one in left]
    low, high = min(scores, default=0), max(scores, default=0)
    worth = [(1 - strength) * ((score - low) / (high - low) if high > low else 0) for score in scores]
    chosen: list[int] = []
    nearest = np.zeros(len(left))
    while left:
        gains = [worth[one] - strength * nearest[one] for one in left]
        best = left[gains.index(max(gains))]
        made_of = worth[best], nearest[best]
        for one, gain in zip(left, gains, strict=True):
            if max(gains) - gain < NEAR and (worth[one], nearest[one]) != made_of:
                raise Undecided(places[best], places[one])
        left.remove(best)
        nearest = np.maximum(nearest, alike[best]) if chosen else alike[best]
        chosen.append(best)
    return [places[one] for one in chosen] + places[DIVERSE_PLACES:]


def _within(value: Any, low: Any, high: Any) -> bool:
    low, high = (comparable(edge) if isinstance(edge, str) else edge for edge in (low, high))
    return (low is None or low <= value) and (high is None or value < high)


def shown(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.isoformat() if isinstance(value, date) else value
