"""Leave out products that score too little. Every search decides it here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shopwindow.retrieval.embedding.calibration import Calibration
from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.request.min_score_reading import FIELD as MIN_SCORE
from shopwindow.retrieval.request.parameters import RequestParameters


def resolve(parameters: RequestParameters, calibration: Calibration | None) -> RequestParameters:
    """Return the parameters with the score for `min_precision` as `min_score`, or as `min_similarity` beside boosts.

    The others stay as they are.

    Args:
        parameters: of the request.
        calibration: of the towers that filled the index; None if they have none.

    Raises:
        InvalidRequest: the towers have no calibration, or none of its scores reaches the precision.
    """
    wanted = parameters.min_precision
    if wanted is None:
        return parameters
    if calibration is None:
        raise InvalidRequest(
            MIN_SCORE,
            f"may be precision: only if the towers are calibrated, got 'precision:{wanted:g}'; run 'shopwindow "
            "evaluate --calibrate' with judged queries, or give a number or best*X",
        )
    score = calibration.score_for(wanted)
    if score is None:
        raise InvalidRequest(
            MIN_SCORE,
            f"after precision: must be at most {calibration.highest:g}, the most that the calibration from "
            f"{calibration.queries} judged queries proves for any score, got 'precision:{wanted:g}'",
        )
    if parameters.page is not None and parameters.page.boost:
        return replace(parameters, min_similarity=score, min_precision=None)
    return replace(parameters, min_score=score, min_precision=None)


def threshold(best: np.ndarray, parameters: RequestParameters) -> np.ndarray | None:
    """Return the least score that a product needs.

    Args:
        best: float32, any shape: the final score of the best product of each query; -inf if there is none.
        parameters: of the request. `resolve` has replaced `min_precision`.

    Returns:
        float32 of the shape of `best`; None if the request leaves out no product for its score. If the best score is
        not above 0, a share of it says nothing, and only what scores the same qualifies.
    """
    assert parameters.min_precision is None, "resolve comes first"
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and then leaves out all or nothing
        if parameters.min_score is not None:
            return np.full(best.shape, parameters.min_score, np.float32)
    if parameters.min_score_of_best is not None:
        share = best.astype(np.float64) * parameters.min_score_of_best
        return np.where(best > 0, share, best).astype(np.float32)
    return None


def cut_off(scores: np.ndarray, parameters: RequestParameters) -> np.ndarray | None:
    """Mark the products that score enough.

    Args:
        scores: (batch, k) float32, the best first, padded with -inf.
        parameters: as in `threshold`.

    Returns:
        (batch, k) bool; None if the request leaves out no product for its score.
    """
    least = threshold(scores[:, :1], parameters)
    return None if least is None else scores >= least
