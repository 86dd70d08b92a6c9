"""The limits of a load test, read from a YAML file, and whether the test kept them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import yaml

from shopwindow_loadtests.judging.samples import Samples
from shopwindow_loadtests.judging.summary import ALL, Figures, figures, group_of, percentiles, select
from shopwindow_loadtests.scenario.mix import known_keys
from shopwindow_loadtests.scenario.options import LoadTestOptions

_PERCENTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "p999_ms": 0.999}
_BEYOND = 10  # a percentile is meaningful with this many samples beyond it


class ExitCode(IntEnum):
    """The exit codes of a load test."""

    OK = 0
    SLO_MISSED = 1
    BAD_USAGE = 2
    TOO_FEW_SAMPLES = 3
    HARNESS_FAILURE = 4


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits on some requests; None is no limit.

    Attributes:
        p50_ms: Highest median latency. A failed request counts as slower than any limit. The other percentiles
            likewise.
        p999_ms: Called `p99.9_ms` in the file.
        error_share: Highest share of failed requests, 0 to 1.
        recall: Lowest mean recall@k.
        samples: Answered requests needed. None: ten beyond the highest limited percentile (p99.9: 10,000).
    """

    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    error_share: float | None = 0.0
    recall: float | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in {
            "p50_ms": (0.0, math.inf),
            "p95_ms": (0.0, math.inf),
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
        """The number of answered requests needed."""
        if self.samples is not None:
            return self.samples
        shares = [share for name, share in _PERCENTILES.items() if getattr(self, name) is not None]
        return round(_BEYOND / (1 - max(shares))) if shares else 1


Slo = Mapping[str, Limits]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the limits were kept.

    Attributes:
        code: How the test ends.
        lines: One line for each limit that was missed or could not be judged: its name, its value, what was measured.
        kept: The same for each limit that was kept.
    """

    code: ExitCode
    lines: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class _Check(NamedTuple):
    """A limit and what was measured, in words."""

    kept: bool
    text: str


def read_slo(options: LoadTestOptions, names: Iterable[str]) -> Slo:
    """Return the limits of a load test, from its YAML file or from its options.

    The file maps `all`, a kind ("text") or a request name ("text batch=8") to `Limits`.

    Args:
        options: The test.
        names: The request names of its mix.

    Raises:
        ValueError: The file is wrong; the message names it and what is wrong.
    """
    if options.slo is None:
        return {
            ALL: Limits(
                p95_ms=options.max_p95_ms,
                p99_ms=options.max_p99_ms,
                error_share=options.max_error_share,
                samples=options.min_samples,
            )
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
    """Compare raw samples with limits. A miss counts even if other limits had too few samples to judge."""
    missed: list[str] = []
    kept: list[str] = []
    few: list[str] = []
    for name, limits in slo.items():
        chosen = select(samples, name)
        measured = figures(chosen, span_s=samples.span_s)
        checks = _check_errors(measured, limits)
        if measured.requests >= limits.least_samples:
            checks += _check_percentiles(chosen, limits)
        if measured.answered < limits.least_samples:
            few.append(
                f"TOO FEW SAMPLES {name} samples: at least {limits.least_samples} answered requests, measured "
                f"{measured.answered}; test longer, or set samples"
            )
            checks = [check for check in checks if not check.kept]  # so few samples can prove a miss, but not a pass
        else:
            checks += _check_recall(measured, limits)
            if limits.recall is not None and measured.recall is None:
                few.append(f"TOO FEW SAMPLES {name} recall: no request had known answers; raise the recall share")
        missed += [f"SLO MISSED {name} {check.text}" for check in checks if not check.kept]
        kept += [f"SLO KEPT {name} {check.text}" for check in checks if check.kept]
    code = ExitCode.SLO_MISSED if missed else ExitCode.TOO_FEW_SAMPLES if few else ExitCode.OK
    return Verdict(code=code, lines=(*missed, *few), kept=tuple(kept))


def failing(samples: Samples, slo: Slo, *, span_s: float) -> bool:
    """Whether a short stretch of a test breaks its limits. It needs only 20 samples, whatever the limits ask for."""
    for name, limits in slo.items():
        chosen = select(samples, name)
        checks = [*_check_answers(figures(chosen, span_s=span_s), limits), *_check_percentiles(chosen, limits)]
        if len(chosen) >= 20 and _broken(checks):
            return True
    return False


def only_slow(samples: Samples, slo: Slo) -> bool:
    """Whether only slow answers break the limits: no failed request does, and no loss of recall.

    A load generator that is too slow has the same effect.
    """
    for name, limits in slo.items():
        chosen = select(samples, name)
        latencies = _limited(chosen, limits)
        answers = _check_answers(figures(chosen, span_s=samples.span_s), limits)
        if _broken(answers) or math.inf in latencies.values():
            return False
    return True


def first_failure(samples: Samples, slo: Slo, *, window_s: float) -> float | None:
    """Return when the first failing stretch of `window_s` began, in seconds after the first sample, or None."""
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


def _broken(checks: Iterable[_Check]) -> bool:
    return not all(check.kept for check in checks)


def _check_errors(measured: Figures, limits: Limits) -> list[_Check]:
    if limits.error_share is None:
        return []
    text = f"error_share: at most {limits.error_share:g}, measured {measured.error_share:.4g}"
    return [_Check(measured.error_share <= limits.error_share, text)]


def _check_recall(measured: Figures, limits: Limits) -> list[_Check]:
    if limits.recall is None or measured.recall is None:
        return []
    text = f"recall: at least {limits.recall:g}, measured {measured.recall:.4g}"
    return [_Check(measured.recall >= limits.recall, text)]


def _check_answers(measured: Figures, limits: Limits) -> list[_Check]:
    return [*_check_errors(measured, limits), *_check_recall(measured, limits)]


def _check_percentiles(samples: Samples, limits: Limits) -> list[_Check]:
    checks = []
    for name, value in _limited(samples, limits).items():
        limit = getattr(limits, name)
        said = f"{value:.4g} ms"
        if value == math.inf:
            said = f"no answer ({1 - samples.answered.mean():.2%} failed, which counts as slower than any limit)"
        text = f"{name.replace('p999', 'p99.9')}: at most {limit:g} ms, measured {said}"
        checks.append(_Check(value <= limit, text))
    return checks


def _limited(samples: Samples, limits: Limits) -> dict[str, float]:
    """Return the percentiles that have a limit. A request without an answer took infinitely long."""
    shares = {name: share for name, share in _PERCENTILES.items() if getattr(limits, name) is not None}
    values = percentiles(np.where(samples.answered, samples.latency_ms, math.inf), list(shares.values()))
    return {name: value for name, value in zip(shares, values, strict=True) if value is not None}
