"""Runs one load test: checks the server, sends the load, judges the samples, writes the report."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass

from shopwindow_client import RetrievalClient, ShopwindowError
from shopwindow_loadtests.judging.baseline import compare
from shopwindow_loadtests.judging.samples import HARNESS, NOT_SENT, Samples, read_generator_cpu
from shopwindow_loadtests.judging.slo import ExitCode, Slo, Verdict, first_failure, judge, only_slow, read_slo
from shopwindow_loadtests.judging.summary import Figures, as_text, percentiles, summarise
from shopwindow_loadtests.scenario.mix import Mix, read_mix
from shopwindow_loadtests.scenario.options import LoadTestOptions
from shopwindow_loadtests.scenario.truth import exact_answers
from shopwindow_loadtests.sending.collecting import RAMP_WINDOW_S
from shopwindow_loadtests.sending.launching import GeneratorTooSlow, HarnessFailure, launch

MAX_GENERATOR_CPU = 0.9  # of a core: Python uses one at most


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a load test found.

    Attributes:
        samples: One a request.
        summary: Their figures.
        verdict: Whether they keep the limits.
        notes: What else there is to say.
    """

    samples: Samples
    summary: dict[str, Figures]
    verdict: Verdict
    notes: tuple[str, ...]


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
    try:
        outcome = measure(options)
        if outcome is not None:
            try:
                _publish(options, outcome, before)
            except Exception as error:  # a ValueError would look like bad usage, after an hour of load
                traceback.print_exc()
                raise HarnessFailure(f"the report failed; the raw samples are in {options.samples_file}") from error
    except HarnessFailure as failure:
        print(f"HARNESS FAILURE {failure}", file=sys.stderr)
        return ExitCode.HARNESS_FAILURE
    return ExitCode.OK if outcome is None else outcome.verdict.code


def _publish(options: LoadTestOptions, outcome: Outcome, before: Samples | None) -> None:
    from shopwindow_loadtests.judging.report import page  # loads matplotlib, which the Locust processes have no use for

    print(as_text(outcome.summary))
    print("\n".join((*outcome.verdict.lines, *outcome.notes)), flush=True)  # now, whatever becomes of the report
    differences = compare(outcome.samples, before, noise=options.noise) if before and len(outcome.samples) else []
    report = page(
        options,
        samples=outcome.samples,
        summary=outcome.summary,
        verdict=outcome.verdict,
        notes=outcome.notes,
        differences=differences,
    )
    (options.out / "report.html").write_text(report, encoding="utf-8")
    for difference in differences:
        print(difference)
    print(f"report and raw samples are in {options.out}", flush=True)


def measure(options: LoadTestOptions) -> Outcome | None:
    """Send the load of a test and judge what came back.

    Args:
        options: The test.

    Returns:
        What it found; None for a worker of a test elsewhere, which has no samples of its own.

    Raises:
        HarnessFailure: Nothing can be said of the server.
        ValueError: As `run`.
    """
    mix = read_mix(options)
    slo = read_slo(options, [request.name for request in mix.requests])
    _check_server(options, mix)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.recall_share:
        _write_answers(options, mix)
    launch(options)
    if options.join is not None:
        return None
    try:
        samples = Samples.read(options.samples_file)
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
        generator_cpu: Share of a core that the busiest of the processes that sent used.

    Raises:
        GeneratorTooSlow: The limits are missed, and it may be those processes' own doing.
    """
    notes = [f"drawn with seed {options.seed}", f"busiest process that sent: {generator_cpu:.2f} of a core"]
    if options.open_loop:
        notes.append(f"sent late: p99 {_late_ms(samples):.1f} ms, which is part of the latencies")
    if not samples.answered.all():
        notes.append(
            f"{(~samples.answered).sum()} of {len(samples)} requests failed: percentiles in the table are of the "
            "others; where one is limited, a failed request counts as slower than any limit"
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
    """Raise where samples that miss limits may owe it to the processes that sent them."""
    what, late_ms = "", _late_ms(missed)
    if late_ms > options.max_late_ms:
        what = f"1 % of the requests were sent more than {late_ms:.0f} ms late (max_late_ms is {options.max_late_ms:g})"
    elif cpu > MAX_GENERATOR_CPU and only_slow(missed, slo):  # neither errors nor wrong answers come from that
        what = f"a process that sent used {cpu:.2f} of a core, and above {MAX_GENERATOR_CPU:g} it waits for itself"
    if what:
        raise GeneratorTooSlow(f"the limits were missed, but {what}: send from more workers or another machine")


def _ramp(options: LoadTestOptions, failed_s: float | None, notes: list[str]) -> Verdict:
    """A ramp measures where the limits break: only where they never held it is a failure."""
    unit = "requests/s" if options.open_loop else "users"
    if failed_s is None:
        notes.append(f"the limits held up to {options.load.levels[-1]:g} {unit}; look higher")
        return Verdict(code=ExitCode.OK)
    at = f"{options.load.level(failed_s):.0f} to {options.load.level(failed_s + RAMP_WINDOW_S):.0f} {unit}"
    if failed_s == 0:
        return Verdict(code=ExitCode.SLO_MISSED, lines=(f"SLO MISSED at the foot of the ramp, at {at}",))
    notes.append(f"the limits first broke at {at}, {failed_s:.0f} s after the start")
    return Verdict(code=ExitCode.OK)


def _check_server(options: LoadTestOptions, mix: Mix) -> None:
    with RetrievalClient(options.url, timeout_s=options.timeout_s, retry=None) as client:
        try:
            health = client.health()
        except ShopwindowError as error:
            raise HarnessFailure(f"no load was sent: {error}") from error
    for model in mix.models:
        if not health.models.get(model, False):
            why = health.detail or f"{options.url} is reachable, but its model {model} is not ready"
            raise HarnessFailure(f"no load was sent: {why}")


def _write_answers(options: LoadTestOptions, mix: Mix) -> None:
    from shopwindow.retrieval import RetrievalError

    try:
        exact_answers(options, mix).write(options.answers_file)
    except (RetrievalError, OSError) as error:
        raise ValueError(f"exact answers for recall: {error}") from error
