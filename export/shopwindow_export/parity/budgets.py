"""How far a precision may change the ranking. All limits are here."""

from __future__ import annotations

from dataclasses import dataclass

RANKED = 10
RECALLED = 100
ENOUGH_QUERIES = 1_000


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits that an export must keep, all against float32 PyTorch.

    Attributes:
        overlap_at_10: smallest mean share of the ten best products that stay among the ten best.
        abs_diff: largest difference of an embedding's element.
        recall_loss: largest share of recall@100 that may be lost, over judged products.
    """

    overlap_at_10: float
    abs_diff: float | None = None
    recall_loss: float | None = None


_HALF = Budget(overlap_at_10=0.99)
_EIGHT_BITS = Budget(overlap_at_10=0.95, recall_loss=0.005)

BUDGETS = {
    # Differs from PyTorch only in the order of additions.
    "fp32": Budget(overlap_at_10=0.99, abs_diff=1e-4),
    "fp16": _HALF,
    "bf16": _HALF,
    "int8": _EIGHT_BITS,
    "fp8": _EIGHT_BITS,
}
