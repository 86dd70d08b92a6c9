"""Limits that a load test has to keep, from a YAML file, and whether it kept them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import yaml

from shopwindow_loadtests.judging.samples import Samples
from shopwindow_loadtests.judging.summary import ALL, Figures, figures, group_of, percentiles, select
from shopwindow_loadtests.scenario.mix import known_keys
from shopwindow_loadtests.scenario.options import LoadTestOptions

_PERCENTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
_BEYOND = 10  # a percentile means something with this many samples beyond it


class ExitCode(IntEnum):
    """How a load test ends."""

    OK = 0
    SLO_MISSED = 1
    BAD_USAGE = 2
    TOO_FEW_SAMPLES = 3
    HARNESS_FAILURE = 4


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What some requests have to keep; None is no limit.

    Attributes:
        p50_ms: Highest median latency, a failed request being slower than any limit; the other percentiles likewise.
        p999_ms: Written `p99.9_ms` in the file.
        error_share: Highest share of failed requests, 0 to 1.
        recall: Lowest mean recall@k.
        samples: Answered requests needed; None for ten beyond the highest percentile limited (p99.9: 10,000).
    """

    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    error_share: float | None = 0.0
    recall: float | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in {
            "p50_ms": (0.0, math.inf),
            "p99_ms": (0.0, math.inf),
            "p999_ms": (0.0, math.inf),
            "error_share": (0.0, 1.0),
            "recall": (0.0, 1.0),
            "samples": (1, math.inf),
        }.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, (int, float)) or not low <= value <= high):
                raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")

    @property
    def least_samples(self) -> int:
        """How many answered requests are needed."""
        if self.samples is not None:
            return self.samples
        shares = [share for name, share in _PERCENTILES.items() if getattr(self, name) is not None]
        return round(_BEYOND / (1 - max(shares))) if shares else 1


Slo = Mapping[str, Limits]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether limits were kept.

    Attributes:
        code: OK, SLO_MISSED or TOO_FEW_SAMPLES.
        lines: One for each limit that was not kept, or could not be judged: which, its value, and what was measured.
    """

    code: ExitCode
    lines: tuple[str, ...] = ()


def read_slo(options: LoadTestOptions, names: Iterable[str]) -> Slo:
    """The limits of a load test: its YAML file, or what its options say.

    The file maps `all`, a kind ("text") or a request name ("text batch=8") to `Limits`.

    Args:
        options: The test.
        names: The request names of its mix.

    Raises:
        ValueError: Names the file and what is wrong with it.
    """
    if options.slo is None:
        return {
            ALL: Limits(p99_ms=options.max_p99_ms, error_share=options.max_error_share, samples=options.min_samples)
        }
    known = sorted({ALL, *names, *map(group_of, names)})
    try:
        given = yaml.safe_load(options.slo.read_text(encoding="utf-8"))
        if not isinstance(given, dict) or not given:
            raise ValueError(f"must map {', '.join(known)} to limits, got {given!r}")
        slo = {name: _limits(name, limits) for name, limits in given.items()}
        unknown = [str(name) for name in slo if name not in known]
        if unknown:
            raise ValueError(f"the test sends no {unknown[0]!r}; there are {', '.join(known)}")
        if not options.recall_share and any(limits.recall is not None for limits in slo.values()):
            raise ValueError("recall is limited, but not measured: set recall_share (--recall-share) above 0")
        return slo
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{options.slo}: {error}") from error


def judge(samples: Samples, slo: Slo) -> Verdict:
    """Compare raw samples with limits. What is missed is missed, even where other requests were too few to judge."""
    missed, few = [], []
    for name, limits in slo.items():
        chosen = select(samples, name)
        measured = figures(chosen, span_s=samples.span_s)
        missed += [f"SLO MISSED {name} {line}" for line in _broken_shares(measured, limits)]
        if measured.requests >= limits.least_samples:
            missed += [f"SLO MISSED {name} {line}" for line in _broken_percentiles(chosen, limits)]
        if measured.answered < limits.least_samples:
            few.append(
                f"TOO FEW SAMPLES {name} samples: at least {limits.least_samples} answered requests, measured "
                f"{measured.answered}; test longer, or set samples"
            )
        else:
            missed += [f"SLO MISSED {name} {line}" for line in _broken_recall(measured, limits)]
            if limits.recall is not None and measured.recall is None:
                few.append(f"TOO FEW SAMPLES {name} recall: no request had known answers; raise the recall share")
    code = ExitCode.SLO_MISSED if missed else ExitCode.TOO_FEW_SAMPLES if few else ExitCode.OK
    return Verdict(code=code, lines=(*missed, *few))


def failing(samples: Samples, slo: Slo, *, span_s: float) -> bool:
    """Whether a short stretch of a test is beyond its limits, however few samples it has: at least 20."""
    for name, limits in slo.items():
        chosen = select(samples, name)
        measured = figures(chosen, span_s=span_s)
        if len(chosen) >= 20 and (_broken_answers(measured, limits) or _broken_percentiles(chosen, limits)):
            return True
    return False


def only_slow(samples: Samples, slo: Slo) -> bool:
    """Whether late answers are all that can break the limits: no failed request, no loss of recall.

    That is what too slow a generator brings about as well.
    """
    for name, limits in slo.items():
        chosen = select(samples, name)
        latencies = _limited(chosen, limits)
        if _broken_answers(figures(chosen, span_s=samples.span_s), limits) or math.inf in latencies.values():
            return False
    return True


def first_failure(samples: Samples, slo: Slo, *, window_s: float) -> float | None:
    """When the first failing stretch of `window_s` began, seconds after the first sample; None without any."""
    window = np.floor(samples.at_s / window_s)
    for number in range(int(window.max()) + 1 if len(samples) else 0):
        if failing(samples.where(window == number), slo, span_s=window_s):
            return number * window_s
    return None


def _limits(name: str, given: Any) -> Limits:
    try:
        if isinstance(given, dict):
            given = {"p999_ms" if key == "p99.9_ms" else key: value for key, value in given.items()}
        return Limits(**known_keys(given, Limits))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error


def _broken_shares(measured: Figures, limits: Limits) -> list[str]:
    if limits.error_share is None or measured.error_share <= limits.error_share:
        return []
    return [f"error_share: at most {limits.error_share:g}, measured {measured.error_share:.4g}"]


def _broken_recall(measured: Figures, limits: Limits) -> list[str]:
    if limits.recall is None or measured.recall is None or measured.recall >= limits.recall:
        return []
    return [f"recall: at least {limits.recall:g}, measured {measured.recall:.4g}"]


def _broken_answers(measured: Figures, limits: Limits) -> list[str]:
    return [*_broken_shares(measured, limits), *_broken_recall(measured, limits)]


def _broken_percentiles(samples: Samples, limits: Limits) -> list[str]:
    broken = []
    for name, value in _limited(samples, limits).items():
        limit = getattr(limits, name)
        if value > limit:
            said = f"{value:.4g} ms"
            if value == math.inf:
                said = f"no answer ({1 - samples.answered.mean():.2%} failed, which counts as slower than any limit)"
            broken.append(f"{name.replace('p999', 'p99.9')}: at most {limit:g} ms, measured {said}")
    return broken


def _limited(samples: Samples, limits: Limits) -> dict[str, float]:
    """The percentiles that are limited. Who got no answer didn't get it in time: it took infinitely long."""
    shares = {name: share for name, share in _PERCENTILES.items() if getattr(limits, name) is not None}
    values = percentiles(np.where(samples.answered, samples.latency_ms, math.inf), list(shares.values()))
    return {name: value for name, value in zip(shares, values, strict=True) if value is not None}
