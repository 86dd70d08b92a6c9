"""The result of a parity measurement, and whether it keeps the budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from shopwindow_export.parity.budgets import BUDGETS
from shopwindow_export.parity.layers import LayerDrift
from shopwindow_export.parity.speed import Speed


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """How far the graphs are from float32 PyTorch.

    Attributes:
        precision: precision of the graphs.
        products, queries: size of the sample. Some products are also compared by the title alone and by the photo
            alone.
        query_max_abs_diff, product_max_abs_diff: largest difference of an embedding's element.
        query_min_cosine, product_min_cosine: worst agreement of an embedding's direction.
        overlap_at_10, overlap_at_100: mean share of PyTorch's best products that the graphs return, 0 to 1; None
            if the sample has no more products than that.
        similar_overlap_at_10: the same for searches by a product's title alone and by its photo alone.
        score_drift_max, score_drift_mean: how far the scores of PyTorch's best 100 products move.
        judged_queries: queries with a relevant product in the sample.
        recall_at_100_pytorch, recall_at_100: of their relevant products; None if nothing is judged.
        query_overlaps, query_drifts: (queries,) float64, overlap@10 and mean score drift of each query.
        layers: on failure, the layers whose outputs drift most, the worst first.
        speed: throughput relative to float32 on this CPU; measured only for 8 bits, which are chosen for speed.
    """

    precision: str
    products: int
    queries: int
    query_max_abs_diff: float
    query_min_cosine: float
    product_max_abs_diff: float
    product_min_cosine: float
    overlap_at_10: float
    overlap_at_100: float | None
    similar_overlap_at_10: float
    score_drift_max: float
    score_drift_mean: float
    judged_queries: int
    recall_at_100_pytorch: float | None
    recall_at_100: float | None
    query_overlaps: np.ndarray = field(repr=False, compare=False)
    query_drifts: np.ndarray = field(repr=False, compare=False)
    layers: tuple[LayerDrift, ...] = ()
    speed: Speed | None = None

    @property
    def recall_loss(self) -> float | None:
        """Share of PyTorch's recall@100 that is lost; below 0 if the graphs find more."""
        if self.recall_at_100 is None or not self.recall_at_100_pytorch:
            return None
        return 1.0 - self.recall_at_100 / self.recall_at_100_pytorch

    @property
    def shortfalls(self) -> list[str]:
        """What breaks the budget, and by how much; empty if nothing does."""
        budget = BUDGETS[self.precision]
        found = []
        for name, overlap in (
            ("overlap@10", self.overlap_at_10),
            ("overlap@10 of similar products", self.similar_overlap_at_10),
        ):
            if overlap < budget.overlap_at_10:
                short = budget.overlap_at_10 - overlap
                found.append(f"{name} {overlap:.4f}, {short:.4f} below the budget's {budget.overlap_at_10}")
        if budget.abs_diff is not None:
            worst = max(self.query_max_abs_diff, self.product_max_abs_diff)
            if not worst <= budget.abs_diff:
                found.append(f"max abs diff {worst:.1e}, {worst - budget.abs_diff:.1e} over {budget.abs_diff:.0e}")
        if budget.recall_loss is not None and self.recall_loss is not None and self.recall_loss > budget.recall_loss:
            over = self.recall_loss - budget.recall_loss
            found.append(
                f"recall@100 falls from {self.recall_at_100_pytorch:.4f} to {self.recall_at_100:.4f}, by "
                f"{self.recall_loss:.2%}, {over:.2%} more than the budget's {budget.recall_loss:.1%}"
            )
        return found

    @property
    def passed(self) -> bool:
        """Whether it is within the budget of its precision."""
        return not self.shortfalls

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain data, without those of single queries."""
        values = asdict(self)
        del values["query_overlaps"], values["query_drifts"]
        return {**values, "recall_loss": self.recall_loss, "passed": self.passed, "shortfalls": self.shortfalls}
