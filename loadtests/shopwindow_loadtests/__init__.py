"""Load tests of a served Shopwindow: Locust users on the client, raw samples, pass or fail by stated limits."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shopwindow_loadtests.judging.slo import ExitCode
    from shopwindow_loadtests.scenario.options import LoadTestOptions
    from shopwindow_loadtests.sending.find_rate import FoundRate, find_rate
    from shopwindow_loadtests.sending.launching import GeneratorTooSlow, HarnessFailure, TooFewSamples
    from shopwindow_loadtests.sending.runner import Outcome, measure, run

_ROOMS = {
    "ExitCode": "judging.slo",
    "FoundRate": "sending.find_rate",
    "GeneratorTooSlow": "sending.launching",
    "HarnessFailure": "sending.launching",
    "LoadTestOptions": "scenario.options",
    "Outcome": "sending.runner",
    "TooFewSamples": "sending.launching",
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
    """Load a name's module only when it is asked for: `gpu.parts` runs where no library is installed."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
