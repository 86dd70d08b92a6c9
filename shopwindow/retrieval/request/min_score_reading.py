"""The request parameter `min_score`: a score, a share of the best score, or a precision that a calibration turns into a
score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from shopwindow.retrieval.errors import InvalidRequest, show

FIELD = "min_score"
_BEST, _PRECISION = "best*", "precision:"


@dataclass(frozen=True)
class MinScore:
    """A least score that depends on the query or on the towers.

    Attributes:
        kind: "best": a share of the score of the query's best product. "precision": the share of the returned products
            that should be right.
        value: above 0, at most 1.
    """

    kind: Literal["best", "precision"]
    value: float


def parse_min_score(value: Any) -> float | MinScore:
    """Read the parameter `min_score`: a finite number, as text too, `best*0.85` or `precision:0.8`.

    Raises:
        InvalidRequest: the value is anything else; names field, limit and value.
    """
    if isinstance(value, str):
        text = "".join(value.split())
        if text.startswith(_BEST):
            return MinScore("best", _share(_BEST, text, value))
        if text.startswith(_PRECISION):
            return MinScore("precision", _share(_PRECISION, text, value))
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(
            FIELD, f"must be a finite number, {_BEST} or {_PRECISION} with a number, got {show(value)}"
        )
    return number


def _share(prefix: str, text: str, given: str) -> float:
    try:
        share = float(text.removeprefix(prefix))
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise InvalidRequest(FIELD, f"after {prefix} must be a number above 0, at most 1, got {show(given)}")
    return share
