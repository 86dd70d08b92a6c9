"""Searches for the highest open-loop rate that meets the limits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from shopwindow_loadtests.judging.slo import ExitCode
from shopwindow_loadtests.scenario.errors import GeneratorTooSlow, TooFewSamples
from shopwindow_loadtests.scenario.options import LoadTestOptions
from shopwindow_loadtests.sending.runner import measure

_REPEATS = 3  # most trials of each rate; two that agree decide
_DOWN = 64  # the search ends if a rate this many times lower than the first still breaks the limits


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How often a rate was tried and how often it met the limits."""

    tried: int
    met: int

    @property
    def holds(self) -> bool:
        """Whether the rate meets the limits, by majority."""
        return self.met > self.tried - self.met

    @property
    def unanimous(self) -> bool:
        """Whether all trials agree."""
        return self.met in (0, self.tried)


@dataclass(frozen=True, kw_only=True)
class FoundRate:
    """The result of the search.

    Attributes:
        trials: Requests per second -> the trials of that rate.
        limit: Why the search saw no rate that breaks the limits; empty otherwise.
    """

    trials: dict[float, Trial] = field(default_factory=dict)
    limit: str = ""

    @property
    def lowest_broken(self) -> float | None:
        """The lowest rate that breaks the limits; None without any."""
        return min((rate for rate, trial in self.trials.items() if not trial.holds), default=None)

    @property
    def highest(self) -> float | None:
        """The highest rate that meets the limits together with all lower ones that were tried; None without any."""
        broken = self.lowest_broken
        held = [rate for rate, trial in self.trials.items() if trial.holds and (broken is None or rate < broken)]
        return max(held, default=None)

    def __str__(self) -> str:
        if self.highest is None:
            return f"no rate that was tried meets the limits, the lowest of them {min(self.trials):.4g} requests/s"
        held = self.trials[self.highest]
        said = f"{self.highest:.4g} requests/s meets the limits (in {held.met} of {held.tried} trials)"
        if self.lowest_broken is None:
            return f"{said}; {self.limit}"
        broken = self.trials[self.lowest_broken]
        said += f", {self.lowest_broken:.4g} does not (in {broken.tried - broken.met} of {broken.tried})"
        sure = held.unanimous and broken.unanimous
        return f"{said}; {'all trials agree' if sure else 'the trials disagree: give them a longer duration'}"


def find_rate(
    options: LoadTestOptions,
    *,
    tolerance: float = 0.1,
    highest: float = math.inf,
    meets: Callable[[float], bool] | None = None,
) -> FoundRate:
    """Double the rate until the limits break, then halve the interval. Print each trial.

    Args:
        options: An open-loop soak. The search begins at its rate. Its duration is that of one trial, its seed that of
            the first one. Each trial draws other requests: the same ones would be cached and would confirm each other.
        tolerance: The search ends when the rates around the limit differ by this share at most.
        highest: The search goes no higher, in requests per second.
        meets: Tries a rate; None runs a load test.

    Raises:
        HarnessFailure: A trial failed.
        TooFewSamples: A trial had too few samples to judge.
        ValueError: The options do not describe an open-loop soak.
    """
    if not options.open_loop or options.shape != "soak" or options.join is not None:
        raise ValueError("a search needs an open loop (rate) of the shape soak, and no join")
    if not 0 < tolerance < 1 or not highest > 0:
        raise ValueError(f"tolerance must be between 0 and 1 and highest above 0, got {tolerance!r} and {highest!r}")
    seeds = itertools.count(options.seed)
    try_rate = meets or (lambda rate: _meets(replace(options, rate=(rate,), seed=next(seeds))))
    trials: dict[float, Trial] = {}

    def holds(rate: float) -> bool:
        tried = met = 0
        while max(met, tried - met) <= _REPEATS // 2:
            met += try_rate(rate)
            tried += 1
        trials[rate] = Trial(tried=tried, met=met)
        print(f"{rate:.4g} requests/s: limits kept in {met} of {tried} trials", flush=True)
        return trials[rate].holds

    low, high = 0.0, min(options.rate[0], highest)
    try:
        while holds(high):
            if high >= highest:
                return FoundRate(trials=trials, limit=f"the search went no higher than {highest:g}")
            low, high = high, min(2 * high, highest)
        while high - low > tolerance * high and high > options.rate[0] / _DOWN:
            middle = (low + high) / 2 if low else high / 2
            low, high = (middle, high) if holds(middle) else (low, middle)
    except GeneratorTooSlow as error:
        if not any(trial.holds for trial in trials.values()):
            raise
        return FoundRate(trials=trials, limit=f"higher rates cannot be judged: {error}")
    return FoundRate(trials=trials)


def _meets(options: LoadTestOptions) -> bool:
    outcome = measure(options)
    assert outcome is not None  # only workers of other tests have none
    if outcome.verdict.code == ExitCode.TOO_FEW_SAMPLES:
        raise TooFewSamples(f"at {options.rate[0]:.4g} requests/s: {'; '.join(outcome.verdict.lines)}")
    return outcome.verdict.code == ExitCode.OK
