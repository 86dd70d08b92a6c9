"""Measure on real titles, photos and queries whether the graphs rank as PyTorch does, within a budget."""

from shopwindow_export.parity.budgets import BUDGETS, Budget
from shopwindow_export.parity.measure import Embedder, measure_parity
from shopwindow_export.parity.sample import ParitySample, read_sample
from shopwindow_export.parity.verdict import ParityReport

__all__ = ["BUDGETS", "Budget", "Embedder", "ParityReport", "ParitySample", "measure_parity", "read_sample"]
