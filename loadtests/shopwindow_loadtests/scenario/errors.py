"""Why a load test has no verdict on the server."""

from __future__ import annotations


class HarnessFailure(Exception):
    """Raised when the load test itself failed, so that it says nothing about the server."""


class GeneratorTooSlow(HarnessFailure):
    """Raised when limits were missed while the load generator could not keep up, so the server may not be at fault."""


class TooFewSamples(HarnessFailure):
    """Raised when a search stops because one of its trials had too few samples to judge."""
