"""The score from which on a product counts as the same style: what `shopwindow similar --same` is to be given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shopwindow.towers.judging.ranking import QUERIES_AT_A_TIME
from shopwindow.towers.judging.table import Cell, Table

PRECISION = 0.9
STEPS = 2_000  # from -1 to 1: thresholds are tried at every 0.001


def count_pairs(
    embeddings: np.ndarray, product_ids: np.ndarray, same: Mapping[int, set[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Count pairs of a trigger and another product by their score.

    Args:
        embeddings: (products, dim) float32, L2-normalised.
        product_ids: (products,) int64.
        same: trigger -> same-style products, all of the catalogue.

    Returns:
        All pairs and the labelled ones that score at least -1, -0.999 and so on to 0.999, both (STEPS,) int64.
    """
    row_of = {product: row for row, product in enumerate(product_ids.tolist())}
    triggers = list(same)
    pairs = np.zeros(STEPS, np.int64)
    labelled = np.zeros(STEPS, np.int64)
    for start in range(0, len(triggers), QUERIES_AT_A_TIME):
        some = triggers[start : start + QUERIES_AT_A_TIME]
        rows = [row_of[trigger] for trigger in some]
        scores = embeddings[rows] @ embeddings.T
        right = [(place, row_of[other]) for place, trigger in enumerate(some) for other in same[trigger]]
        pairs += _histogram(scores) - _histogram(scores[np.arange(len(rows)), rows])  # less the triggers themselves
        labelled += _histogram(scores[tuple(np.array(right).T)])
    return _at_least(pairs), _at_least(labelled)


def threshold_table(embeddings: np.ndarray, product_ids: np.ndarray, same: Mapping[int, set[int]]) -> Table:
    """The thresholds of a precision of PRECISION and of the best F1; arguments as `count_pairs`."""
    found, right = count_pairs(embeddings, product_ids, same)
    precision = right / np.maximum(found, 1)
    recall = right / right[0]
    f1 = 2 * right / (found + right[0])
    precise = np.flatnonzero(precision >= PRECISION)  # of several the lowest, which finds most
    places = {f"precision {PRECISION}": int(precise[0]) if len(precise) else None, "best F1": int(f1.argmax())}
    rows: list[dict[str, Cell]] = []
    for aim, place in places.items():
        cells: dict[str, Cell] = dict.fromkeys(("threshold", "precision", "recall", "F1", "pairs found", "labelled"))
        if place is not None:
            cells |= {
                "threshold": round(2 * place / STEPS - 1, 3),
                "precision": float(precision[place]),
                "recall": float(recall[place]),
                "F1": float(f1[place]),
                "pairs found": int(found[place]),
                "labelled": int(right[place]),
            }
        rows.append({"aim": aim, **cells})
    return Table(
        title="Same-style thresholds",
        note=f"Pairs of one of {len(same)} triggers and any other of {len(product_ids)} products, title and photo "
        f"together, that score at least the threshold; {int(right[0])} pairs are labelled. What nobody labelled counts "
        "as wrong, so precision is a lower bound and a threshold errs on the high side. No threshold: none reaches it.",
        rows=rows,
    )


def _histogram(scores: np.ndarray) -> np.ndarray:
    # Rounding may lift a cosine above 1; nudging keeps 0.9, which float32 cannot hold, from counting as below it.
    return np.histogram((scores + 1e-6).clip(-1, 1), bins=STEPS, range=(-1, 1))[0]


def _at_least(counts: np.ndarray) -> np.ndarray:
    return counts[::-1].cumsum()[::-1]
