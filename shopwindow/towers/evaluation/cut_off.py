"""Calibrate scores: from which score on are so many of the products right? And what does cutting off there do?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shopwindow.retrieval.embedding.calibration import Calibration
from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.retrieval.search.cut_off import cut_off
from shopwindow.towers.judging.judgements import Judgements
from shopwindow.towers.judging.metrics import find_hits
from shopwindow.towers.judging.table import Cell, Table

DEPTH = 1_000  # places of a ranking that count
THRESHOLDS = (np.arange(-1_000, 1_000) / 1_000).astype(np.float32)
LEVELS = tuple(level / 100 for level in (*range(5, 95, 5), *range(95, 100)))
FEWEST_QUERIES = 20  # with fewer, the halves prove nothing
Z = 1.645  # of a one-sided bound that holds in 95 % of the cases
ASKED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
OF_BEST = 0.85
HALVINGS = 20
QUERIES_AT_A_TIME = 256
Row = dict[str, Cell]

# What fingers do on a keyboard, words that do not exist, and words that no shop answers.
NONSENSE = (
    *("asdfgh", "qwertz uiop", "qwerty", "zxcvbnm", "jkl jkl jkl", "xxxxxx", "aaaaaaaa", "1234567890", "!!! ???"),
    *("hjkdsf 8934", "blorf snazzle", "flibbertigibbet", "wug", "lorem ipsum dolor", "mortgage refinancing"),
    *("quantum chromodynamics", "prime minister election", "how do I reset my password", "weather tomorrow"),
    "python list comprehension",
)


@dataclass(frozen=True)
class Found:
    """What searches found.

    Attributes:
        scores: (queries, places) float32, the best first; padded with -inf.
        right: (queries, places) bool, the products that answer the query. A product that nobody judged counts as wrong,
            as everywhere in the report, so the true precision is at least the one shown.
    """

    scores: np.ndarray
    right: np.ndarray

    def of(self, rows: np.ndarray) -> Found:
        """Return some of the queries."""
        return Found(self.scores[rows], self.right[rows])


def search_judged(pipeline: InProcessPipeline, judgements: Judgements) -> Found:
    """Search for the judged queries by their embeddings, DEPTH places deep."""
    depth = max(1, min(DEPTH, pipeline.index.manifest.count))
    scores, right = [], []
    for start in range(0, len(judgements.queries), QUERIES_AT_A_TIME):
        part = slice(start, start + QUERIES_AT_A_TIME)
        result = pipeline.retrieve(judgements.queries[part], top_k=depth)
        scores.append(result.scores)
        right.append(find_hits(result.product_ids, judgements.relevant[part]))
    return Found(np.concatenate(scores), np.concatenate(right))


def points_of(found: Found) -> tuple[tuple[float, float], ...]:
    """Return (precision, score) points: from that score on, at least that share of the products is right.

    The share is over all products of all queries that score at least so much. It is made to rise with the score, by
    pooling neighbours that do not (isotonic regression). Of that it takes Wilson's lower bound, which 95 % of samples
    keep. The products of one query are right or wrong together, so they do not count as separate observations: the
    bound is for as many observations as there would be queries if all of them found equally many products.

    Args:
        found: of the judged queries.

    Returns:
        For each of LEVELS that is reached, the lowest of THRESHOLDS that reaches it. If one score reaches several, only
        the highest. Empty if none is reached.
    """
    products, squares, right = (np.zeros(len(THRESHOLDS)) for _ in range(3))
    for scores, marks in zip(found.scores, found.right, strict=True):
        each = np.searchsorted(-scores, -THRESHOLDS, side="right")  # how many score at least so much
        products += each
        squares += each.astype(np.float64) ** 2
        right += np.concatenate([[0], np.cumsum(marks)])[each]
    some = products > np.append(products[1:], 0)  # where a score is, so that no score is below all that were seen
    products, squares, right = products[some], squares[some], right[some]
    low = lower_bound(rising(right / products, products), products**2 / squares)
    low = np.maximum.accumulate(low)  # precision rises, so what holds from a score on holds from a higher one on
    points: dict[float, float] = {}
    for level in LEVELS:
        if len(reached := np.flatnonzero(low >= level)):
            points[round(float(THRESHOLDS[some][reached[0]]), 3)] = level
    return tuple((level, score) for score, level in points.items())


def rising(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the rising values nearest to the given ones, by weighted squares: pools neighbours that fall."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, total, length = value, weight, 1
        while blocks and blocks[-1][0] >= mean:
            before, its_weight, its_length = blocks.pop()
            mean = (before * its_weight + mean * total) / (its_weight + total)
            total, length = its_weight + total, its_length + length
        blocks.append((mean, total, length))
    return np.repeat([mean for mean, _, _ in blocks], [length for _, _, length in blocks])


def lower_bound(share: np.ndarray, observations: np.ndarray) -> np.ndarray:
    """Return Wilson's one-sided lower bound of shares, see Z."""
    square = Z**2 / observations
    spread = np.sqrt(share * (1 - share) * square + square**2 / 4)
    bound: np.ndarray = (share + square / 2 - spread) / (1 + square)
    return bound


def calibrate(pipeline: InProcessPipeline, found: Found, source: str) -> Calibration:
    """Return the calibration that `points_of` gives, for the bundle of these towers.

    Args:
        pipeline: towers and index.
        found: what `search_judged` found.
        source: the files of the judgements, in words.
    """
    return Calibration(
        towers=pipeline.bundle.tower_hash,
        source=source,
        queries=len(found.scores),
        products=pipeline.index.manifest.count,
        points=points_of(found),
    )


def cut_off_table(pipeline: InProcessPipeline, found: Found, judgements: Judgements, seed: int) -> Table:
    """Calibrate on one half of the judged queries, and measure on the other half and on queries that mean nothing.

    The figures are means over HALVINGS random halves, because those of one differ by a few hundredths.

    Args:
        pipeline: towers and index.
        found: what `search_judged` found.
        judgements: the judged queries, at least FEWEST_QUERIES.
        seed: seed of the draws of the halves.
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(found.scores)) for _ in range(HALVINGS)]
    size = len(found.scores) // 2
    by_half = [calibrate(pipeline, found.of(order[:size]), "") for order in orders]
    relevant = np.array([len(answers) for answers in judgements.relevant])
    nonsense = pipeline.retrieve(NONSENSE, top_k=found.scores.shape[1]).scores
    by_all = calibrate(pipeline, found, "")

    def row(name: str, asked: float | None, score: float | None, chosen: list[RequestParameters]) -> Row:
        cells = [
            _cells(found.of(order[size:]), relevant[order[size:]], nonsense, parameters)
            for order, parameters in zip(orders, chosen, strict=True)
        ]
        means = {key: float(np.mean([each[key] for each in cells])) for key in cells[0]}
        kept = None if asked is None else float(np.mean([each["precision"] >= asked for each in cells]))
        return {"min_score": name, "score": score, **means, "halves that kept it": kept}

    rows = [row("none", None, None, [RequestParameters()] * HALVINGS)]
    for asked in ASKED:
        name, score = f"precision:{asked:g}", by_all.score_for(asked)
        chosen = [RequestParameters(min_score=each.score_for(asked)) for each in by_half]
        if any(parameters.min_score is None for parameters in chosen):  # a half proves this precision for no score
            rows.append({**dict.fromkeys(rows[0]), "min_score": name, "score": score})
        else:
            rows.append(row(name, asked, score, chosen))
    rows.append(row(f"best*{OF_BEST:g}", None, None, [RequestParameters(min_score_of_best=OF_BEST)] * HALVINGS))
    return Table(
        title="Cut-off",
        note=f"What `min_score` does to the first {found.scores.shape[1]} products of a query. `score` is the "
        f"calibration by all {len(found.scores)} judged queries, which --calibrate writes into the bundle. The other "
        f"columns are from calibrations by {size} of them, measured on the others; means over {HALVINGS} random "
        "halves: products a query, the share of them that is right, the share of the right products that is left, and "
        f"the share of queries that are left without a product. `nonsense` is {len(NONSENSE)} queries that no product "
        "answers, such as `asdfgh`. The last column is the share of the halves in which the precision was what was "
        "asked for. Products that nobody judged count as wrong, so the true precision is at least that shown.",
        rows=rows,
    )


def _cells(found: Found, relevant: np.ndarray, nonsense: np.ndarray, parameters: RequestParameters) -> dict[str, float]:
    kept, of_nonsense = _kept(found.scores, parameters), _kept(nonsense, parameters)
    right = (found.right & kept).sum(axis=1)
    return {
        "products": float(kept.sum(axis=1).mean()),
        "precision": float(right.sum() / max(1, kept.sum())),
        "recall": float((right / relevant).mean()),
        "without products": float(np.mean(~kept.any(axis=1))),
        "nonsense: products": float(of_nonsense.sum(axis=1).mean()),
        "nonsense: without products": float(np.mean(~of_nonsense.any(axis=1))),
    }


def _kept(scores: np.ndarray, parameters: RequestParameters) -> np.ndarray:
    enough = cut_off(scores, parameters)
    there: np.ndarray = scores > -np.inf
    return there if enough is None else there & enough
