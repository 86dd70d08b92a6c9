"""Runs one load test: checks the server, sends the load, judges the samples and writes the report."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from shopwindow_client import ShopwindowError
from shopwindow_loadtests.judging.baseline import Difference, compare
from shopwindow_loadtests.judging.conditions import Conditions, machine_name
from shopwindow_loadtests.judging.samples import HARNESS, NOT_SENT, Samples, read_generator_cpu
from shopwindow_loadtests.judging.slo import ExitCode, Slo, Verdict, first_failure, judge, only_slow, read_slo
from shopwindow_loadtests.judging.summary import Figures, as_text, percentiles, summarise
from shopwindow_loadtests.scenario.errors import GeneratorTooSlow, HarnessFailure
from shopwindow_loadtests.scenario.mix import Mix, read_mix
from shopwindow_loadtests.scenario.options import LoadTestOptions
from shopwindow_loadtests.scenario.truth import exact_answers
from shopwindow_loadtests.sending.collecting import RAMP_WINDOW_S
from shopwindow_loadtests.sending.launching import launch
from shopwindow_loadtests.sending.sender import Traffic

MAX_GENERATOR_CPU = 0.9  # of a core; a Python process uses at most one


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a load test.

    Attributes:
        samples: One for each request.
        summary: Their figures.
        verdict: Whether they keep the limits.
        notes: Further remarks, one line each.
    """

    samples: Samples
    summary: dict[str, Figures]
    verdict: Verdict
    notes: tuple[str, ...]


@dataclass
class _Seen:
    """What a test has found so far. A test that fails can report this much.

    Attributes:
        generation: Of the served index; None if the server did not say.
        samples: Those that reached the file.
    """

    generation: int | None = None
    samples: Samples = field(default_factory=lambda: Samples.of([]))


def run(options: LoadTestOptions) -> int:
    """Run a load test, print what it found, and write `report.html` and `samples.parquet` to `options.out`.

    Args:
        options: The test.

    Returns:
        An `ExitCode`: OK, SLO_MISSED, TOO_FEW_SAMPLES or HARNESS_FAILURE.

    Raises:
        ValueError: The mix, the limits, the baseline or the index are not fit for use.
    """
    before = Samples.read(options.baseline) if options.baseline else None
    began, seen = datetime.now().astimezone(), _Seen()
    try:
        outcome = _measure(options, seen)
    except HarnessFailure as failure:
        _fail(options, began, seen, failure)
        return ExitCode.HARNESS_FAILURE
    if outcome is None:
        return ExitCode.OK
    try:
        _publish(options, _conditions(began, seen), outcome, before)
    except Exception:  # a ValueError would look like bad usage, after an hour of load
        traceback.print_exc()
        print(f"HARNESS FAILURE the report failed; the raw samples are in {options.samples_file}", file=sys.stderr)
        return ExitCode.HARNESS_FAILURE
    return outcome.verdict.code


def _publish(options: LoadTestOptions, conditions: Conditions, outcome: Outcome, before: Samples | None) -> None:
    print(as_text(outcome.summary))
    lines = (*outcome.verdict.lines, *outcome.verdict.kept, *outcome.notes)
    print("\n".join(lines), flush=True)  # now, because writing the report may fail
    differences = compare(outcome.samples, before, noise=options.noise) if before and len(outcome.samples) else []
    _write_report(options, conditions, outcome, differences)
    for difference in differences:
        print(difference)
    print(f"report and raw samples are in {options.out}", flush=True)


def _fail(options: LoadTestOptions, began: datetime, seen: _Seen, failure: HarnessFailure) -> None:
    """Say why a test has no verdict, on standard error and in a report, which replaces one of an earlier test."""
    line = f"HARNESS FAILURE {failure}"
    print(line, file=sys.stderr)
    if options.join is not None:  # the other test reports
        return
    outcome = Outcome(
        samples=seen.samples,
        summary=summarise(seen.samples) if len(seen.samples) else {},
        verdict=Verdict(code=ExitCode.HARNESS_FAILURE, lines=(line,)),
        notes=(f"drawn with seed {options.seed}",),
    )
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        _write_report(options, _conditions(began, seen), outcome, [])
        print(f"report is in {options.out}", flush=True)
    except Exception:  # the reason of the failure is printed already
        traceback.print_exc()


def _conditions(began: datetime, seen: _Seen) -> Conditions:
    return Conditions(began=began, machine=machine_name(), generation=seen.generation)


def _write_report(
    options: LoadTestOptions, conditions: Conditions, outcome: Outcome, differences: Sequence[Difference]
) -> None:
    from shopwindow_loadtests.judging.report import page  # loads matplotlib, which the Locust processes do not need

    report = page(
        options,
        conditions=conditions,
        samples=outcome.samples,
        summary=outcome.summary,
        verdict=outcome.verdict,
        notes=outcome.notes,
        differences=differences,
    )
    (options.out / "report.html").write_text(report, encoding="utf-8")


def measure(options: LoadTestOptions) -> Outcome | None:
    """Send the load of a test and judge the samples.

    Args:
        options: The test.

    Returns:
        The result; None for a worker of another test, which keeps no samples.

    Raises:
        HarnessFailure: The test failed and says nothing about the server.
        ValueError: As `run`.
    """
    return _measure(options, _Seen())


def _measure(options: LoadTestOptions, seen: _Seen) -> Outcome | None:
    mix = read_mix(options)
    slo = read_slo(options, [request.name for request in mix.requests])
    try:
        _check_files(options, mix)
        seen.generation = _check_server(options, mix)
    except HarnessFailure:
        _remove_old_samples(options)
        raise
    options.out.mkdir(parents=True, exist_ok=True)
    if options.recall_share:
        _write_answers(options, mix)
    _remove_old_samples(options)
    try:
        launch(options)
    except HarnessFailure:
        with suppress(ValueError):  # if the file is whole, the report shows how far the test came
            seen.samples = Samples.read(options.samples_file)
        raise
    if options.join is not None:
        return None
    try:
        samples = seen.samples = Samples.read(options.samples_file)
    except ValueError as error:
        raise HarnessFailure(str(error)) from error
    own = [error for error in samples.error if error.startswith(HARNESS)]
    if own:
        raise HarnessFailure(f"{len(own)} requests failed in the load test itself, the first one with {own[0]}")
    return outcome_of(options, samples, slo, generator_cpu=read_generator_cpu(options.samples_file))


def outcome_of(options: LoadTestOptions, samples: Samples, slo: Slo, *, generator_cpu: float) -> Outcome:
    """Judge the samples of a test.

    Args:
        options: The test.
        samples: All of them.
        slo: Its limits.
        generator_cpu: Share of a core that the busiest sending process used.

    Raises:
        GeneratorTooSlow: The limits are missed, and the sending processes may be the reason.
    """
    notes = [f"drawn with seed {options.seed}", f"busiest sending process: {generator_cpu:.2f} of a core"]
    if options.open_loop:
        notes.append(f"sent late: p99 {_late_ms(samples):.1f} ms; the latencies include it")
    if not samples.answered.all():
        notes.append(
            f"{(~samples.answered).sum()} of {len(samples)} requests failed: the percentiles in the table leave them "
            "out; a limit on a percentile counts each of them as slower than the limit"
        )
    if options.shape == "ramp":
        failed_s = first_failure(samples, slo, window_s=RAMP_WINDOW_S)
        verdict = _ramp(options, failed_s, notes)
        if failed_s is not None:
            inside = (samples.at_s >= failed_s) & (samples.at_s < failed_s + RAMP_WINDOW_S)
            _check_generator(options, samples.where(inside), slo, generator_cpu)
    else:
        verdict = judge(samples, slo)
        if verdict.code == ExitCode.SLO_MISSED:
            _check_generator(options, samples, slo, generator_cpu)
    return Outcome(samples=samples, summary=summarise(samples), verdict=verdict, notes=tuple(notes))


def _late_ms(samples: Samples) -> float:
    (late_ms,) = percentiles(samples.late_ms[samples.error != NOT_SENT], [0.99])
    return late_ms or 0.0


def _check_generator(options: LoadTestOptions, missed: Samples, slo: Slo, cpu: float) -> None:
    """Raise if the sending processes may be the reason why samples miss limits."""
    what, late_ms = "", _late_ms(missed)
    if late_ms > options.max_late_ms:
        what = f"1 % of the requests were sent more than {late_ms:.0f} ms late (max_late_ms is {options.max_late_ms:g})"
    elif cpu > MAX_GENERATOR_CPU and only_slow(missed, slo):  # a busy generator causes neither errors nor wrong answers
        what = f"a sending process used {cpu:.2f} of a core; above {MAX_GENERATOR_CPU:g} its requests wait for it"
    if what:
        raise GeneratorTooSlow(f"the limits were missed, but {what}: send from more workers or another machine")


def _ramp(options: LoadTestOptions, failed_s: float | None, notes: list[str]) -> Verdict:
    """Judge a ramp. It measures where the limits break, so it fails only if they never held."""
    unit = "requests/s" if options.open_loop else "users"
    if failed_s is None:
        notes.append(f"the limits held up to {options.load.levels[-1]:g} {unit}; try higher levels")
        return Verdict(code=ExitCode.OK)
    at = f"{options.load.level(failed_s):.0f} to {options.load.level(failed_s + RAMP_WINDOW_S):.0f} {unit}"
    if failed_s == 0:
        return Verdict(code=ExitCode.SLO_MISSED, lines=(f"SLO MISSED at the start of the ramp, at {at}",))
    notes.append(f"the limits first broke at {at}, {failed_s:.0f} s after the start")
    return Verdict(code=ExitCode.OK)


def _check_files(options: LoadTestOptions, mix: Mix) -> None:
    """Read the queries and products, so that a wrong file ends the test here and not in the processes that send."""
    try:
        Traffic(mix, options.seed)
    except (ValueError, OSError) as error:
        raise HarnessFailure(f"no load was sent: {error}") from error


def _check_server(options: LoadTestOptions, mix: Mix) -> int | None:
    """Check that the server is ready, and return the generation of its index; None if it does not say."""
    with options.client() as client:
        try:
            health = client.health()
        except ShopwindowError as error:
            raise HarnessFailure(f"no load was sent: {error}") from error
        for model in mix.models:
            if not health.models.get(model, False):
                why = health.detail or f"{options.url} is reachable, but its model {model} is not ready"
                raise HarnessFailure(f"no load was sent: {why}")
        try:
            return client.info().generation
        except ShopwindowError:  # the test does not need it
            return None


def _remove_old_samples(options: LoadTestOptions) -> None:
    """Remove the samples of an earlier test.

    If this test fails, its report must not show them, and they must not stay beside it.
    """
    if options.join is None and options.samples_file.is_file():
        options.samples_file.unlink()


def _write_answers(options: LoadTestOptions, mix: Mix) -> None:
    from shopwindow.retrieval import RetrievalError

    try:
        exact_answers(options, mix).write(options.answers_file)
    except (RetrievalError, OSError) as error:
        raise ValueError(f"exact answers for recall: {error}") from error
