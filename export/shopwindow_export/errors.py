"""The errors of exporting.

ExportError
├── ParityError    the graphs do not rank as PyTorch does
└── PlanError      a TensorRT plan cannot be built, or has no valid manifest
"""

from __future__ import annotations


class ExportError(Exception):
    """Raised when an exported file would fail later, at build or run time. Nothing is written."""


class ParityError(ExportError):
    """Raised when a precision does not keep its budget. The message names the figures and the report."""


class PlanError(ExportError):
    """Raised when TensorRT cannot build a plan, with its reasons, or when a plan has no valid manifest."""
