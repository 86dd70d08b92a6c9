"""The errors of exporting.

ExportError
├── ParityError    the graphs do not rank as PyTorch does
└── PlanError      a TensorRT plan cannot be built, or is not what it should be
"""

from __future__ import annotations


class ExportError(Exception):
    """Raised when what was exported would fail later, at build or run time; nothing is written."""


class ParityError(ExportError):
    """Raised when a precision is below its budget; names the figures and the report."""


class PlanError(ExportError):
    """Raised when TensorRT refuses a graph or a profile, with its reasons, or when a plan has no sound manifest."""
