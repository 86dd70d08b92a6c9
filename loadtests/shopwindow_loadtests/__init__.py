"""Load tests of a running Shopwindow server: Locust users, raw samples, and a verdict by stated limits."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shopwindow_loadtests.judging.slo import ExitCode
    from shopwindow_loadtests.scenario.errors import GeneratorTooSlow, HarnessFailure, TooFewSamples
    from shopwindow_loadtests.scenario.options import LoadTestOptions
    from shopwindow_loadtests.sending.find_rate import FoundRate, find_rate
    from shopwindow_loadtests.sending.runner import Outcome, measure, run

_MODULES = {
    "ExitCode": "judging.slo",
    "FoundRate": "sending.find_rate",
    "GeneratorTooSlow": "scenario.errors",
    "HarnessFailure": "scenario.errors",
    "LoadTestOptions": "scenario.options",
    "Outcome": "sending.runner",
    "TooFewSamples": "scenario.errors",
    "find_rate": "sending.find_rate",
    "measure": "sending.runner",
    "run": "sending.runner",
}

__all__ = [
    "ExitCode",
    "FoundRate",
    "GeneratorTooSlow",
    "HarnessFailure",
    "LoadTestOptions",
    "Outcome",
    "TooFewSamples",
    "find_rate",
    "measure",
    "run",
]


def __getattr__(name: str) -> Any:
    """Load the module of a name when somebody asks for it: `gpu.parts` runs on machines without any library."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
