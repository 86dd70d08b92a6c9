"""Find the score from which a product counts as the same style, to use as `shopwindow similar --same`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shopwindow.towers.judging.ranking import QUERIES_AT_A_TIME
from shopwindow.towers.judging.table import Cell, Table

PRECISION = 0.9
STEPS = 2_000  # thresholds from -1 to 1, one every 0.001


def count_pairs(
    embeddings: np.ndarray, product_ids: np.ndarray, same: Mapping[int, set[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pairs of a trigger and another product that reach each threshold.

    Args:
        embeddings: (products, dim) float32, L2-normalised.
        product_ids: (products,) int64.
        same: trigger -> its same-style products. All of them must be in the catalogue.

    Returns:
        The number of all pairs and of labelled pairs that score at least -1, -0.999 and so on to 0.999, both (STEPS,)
        int64.
    """
    row_of = {product: row for row, product in enumerate(product_ids.tolist())}
    triggers = list(same)
    pairs = np.zeros(STEPS, np.int64)
    labelled = np.zeros(STEPS, np.int64)
    for start in range(0, len(triggers), QUERIES_AT_A_TIME):
        block = triggers[start : start + QUERIES_AT_A_TIME]
        rows = [row_of[trigger] for trigger in block]
        scores = embeddings[rows] @ embeddings.T
        right = [(place, row_of[other]) for place, trigger in enumerate(block) for other in same[trigger]]
        pairs += _histogram(scores) - _histogram(scores[np.arange(len(rows)), rows])  # without the triggers themselves
        labelled += _histogram(scores[tuple(np.array(right).T)])
    return _at_least(pairs), _at_least(labelled)


def threshold_table(embeddings: np.ndarray, product_ids: np.ndarray, same: Mapping[int, set[int]]) -> Table:
    """Return the thresholds for a precision of PRECISION and for the best F1; arguments as `count_pairs`."""
    found, right = count_pairs(embeddings, product_ids, same)
    precision = right / np.maximum(found, 1)
    recall = right / right[0]
    f1 = 2 * right / (found + right[0])
    precise = np.flatnonzero(precision >= PRECISION)  # the lowest of these finds the most
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
        note=f"A pair is one of {len(same)} triggers with any other of the {len(product_ids)} products, embedded with "
        f"title and photo. It is found if it scores at least the threshold. {int(right[0])} pairs are labelled. "
        "Unlabelled pairs count as wrong, so the true precision is at least the one shown, and the thresholds are too "
        "high rather than too low. An empty threshold means that no threshold reaches the aim.",
        rows=rows,
    )


def _histogram(scores: np.ndarray) -> np.ndarray:
    # Rounding may lift a cosine above 1. float32 holds 0.9 as slightly less, so a small addition keeps it at 0.9.
    return np.histogram((scores + 1e-6).clip(-1, 1), bins=STEPS, range=(-1, 1))[0]


def _at_least(counts: np.ndarray) -> np.ndarray:
    return counts[::-1].cumsum()[::-1]
