"""Load tests of a served Shopwindow: Locust users on the client, raw samples, pass or fail by stated limits."""

from __future__ import annotations

from loadtests.find_rate import FoundRate, find_rate
from loadtests.launching import GeneratorTooSlow, HarnessFailure, TooFewSamples
from loadtests.options import LoadTestOptions
from loadtests.runner import Outcome, measure, run
from loadtests.slo import ExitCode

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
