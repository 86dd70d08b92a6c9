"""Do the exported graphs rank as PyTorch does? Measured on real titles, photos and queries, and held to a budget."""

from export.parity.budgets import BUDGETS, Budget
from export.parity.measure import Embedder, measure_parity
from export.parity.report import ParityReport
from export.parity.sample import ParitySample, read_sample

__all__ = ["BUDGETS", "Budget", "Embedder", "ParityReport", "ParitySample", "measure_parity", "read_sample"]
