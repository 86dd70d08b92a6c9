"""The judgement of the soak: the replies and the figures that it must refuse."""

from __future__ import annotations

import math
import signal
import time

import numpy as np
import pytest

from shopwindow_client import DeadlineExceeded, ServerDraining
from shopwindow_loadtests.soak.__main__ import Changes, Verdicts, judge_changes, judge_kills
from shopwindow_loadtests.soak.callers import Failure, Load
from shopwindow_loadtests.soak.timeline import Timeline
from shopwindow_loadtests.soak.watched_server import GATEWAY, TOLD_WITHIN_S, TRITON, Recovery, WatchedServer

FIRST, SECOND = np.arange(100, 110), np.array([*range(101, 110), 200])  # 100 is removed, 200 is new


@pytest.fixture
def timeline() -> Timeline:
    timeline = Timeline()
    timeline.begin(1, FIRST)
    timeline.settle()
    return timeline


def test_replies_are_judged_by_the_generations_of_their_time(timeline: Timeline) -> None:
    early = timeline.place
    timeline.begin(2, SECOND)
    between = timeline.place
    timeline.settle()
    late = timeline.place
    whole, mixed, gone = (False, False), (True, False), (True, True)
    for place in (early, between):  # either may answer
        assert timeline.judge(place, 1, FIRST) == whole
        assert timeline.judge(place, 2, SECOND) == whole
        assert timeline.judge(place, 1, SECOND) == mixed
        assert timeline.judge(place, 2, FIRST) == mixed
    assert timeline.judge(late, 2, SECOND) == whole
    assert timeline.judge(late, 2, FIRST) == gone  # names the new generation, but has a removed product
    assert timeline.judge(late, 1, FIRST) == gone
    assert timeline.judge(late, 1, FIRST[1:]) == mixed  # nothing in it was removed, but the generation is out of date
    timeline.begin(1)
    timeline.settle()
    assert timeline.judge(timeline.place, 1, FIRST) == whole  # after a rollback these products may appear again
    assert timeline.judge(timeline.place, 1, SECOND) == gone


class Server(WatchedServer):
    """A record of a server that does not exist."""

    def __init__(self, seen: list[tuple[float, bool]]) -> None:
        self._seen = seen


def calm(timeline: Timeline, *, replies: int = 1_000, seconds: float = 10.0, **found: object) -> Load:
    load = Load("nowhere:1", 100.0, timeline, answered=replies, seconds=[0.01], **found)  # type: ignore[arg-type]
    load._began = time.monotonic() - seconds
    return load


def verdict(capsys: pytest.CaptureFixture[str], figure: str) -> str:
    [line] = [line for line in capsys.readouterr().out.splitlines() if figure in line]
    return line.split()[0]


FLAT = [100, 110, 120, 130, 140, 141, 142, 140]


@pytest.mark.parametrize(
    ("memory", "wanted"), [(FLAT, "PASS"), ([*FLAT, 148], "FAIL"), (FLAT[:5], "FAIL")], ids=["flat", "grown", "few"]
)
def test_memory_is_judged_after_five_swaps_and_fails_with_fewer(
    timeline: Timeline, capsys: pytest.CaptureFixture[str], memory: list[int], wanted: str
) -> None:
    changes = Changes(None, timeline, memory=[mib * 2**20 for mib in memory])  # type: ignore[arg-type]
    verdicts = Verdicts()
    judge_changes(verdicts, Server([(0.0, True)]), changes, calm(timeline), 90.0)
    assert verdicts.passed == (wanted == "PASS")
    assert verdict(capsys, "memory") == wanted


@pytest.mark.parametrize(
    ("found", "figure"),
    [
        ({"seconds": 20.0}, "requests/s"),  # half the rate
        ({"failures": [Failure(0.0, ServerDraining("a process died"))]}, "failed requests"),
        ({"mixed": 1}, "mix generations"),
        ({"gone": 1}, "was removed before"),
    ],
)
def test_each_fault_during_the_changes_fails_under_its_name(
    timeline: Timeline, capsys: pytest.CaptureFixture[str], found: dict[str, object], figure: str
) -> None:
    changes = Changes(None, timeline, memory=FLAT)  # type: ignore[arg-type]
    verdicts = Verdicts()
    judge_changes(verdicts, Server([(0.0, True)]), changes, calm(timeline, **found), 90.0)  # type: ignore[arg-type]
    assert not verdicts.passed
    assert verdict(capsys, figure) == "FAIL"


def test_a_false_alarm_of_the_health_endpoint_fails(timeline: Timeline, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = Verdicts()
    changes = Changes(None, timeline, memory=FLAT)  # type: ignore[arg-type]
    judge_changes(verdicts, Server([(0.0, True), (1.0, False)]), changes, calm(timeline), 90.0)
    assert not verdicts.passed
    assert verdict(capsys, "health endpoint") == "FAIL"


@pytest.mark.parametrize(
    ("seconds", "error", "told_after", "figure"),
    [
        (5.0, ServerDraining("a process died"), 1.0, None),
        (11.0, ServerDraining("a process died"), 1.0, "models and the gateway"),
        (5.0, DeadlineExceeded("no answer"), 1.0, "do not tell to send again"),
        (5.0, ServerDraining("a process died"), TOLD_WITHIN_S + 1.0, "did not report"),
    ],
)
def test_kills_are_judged_by_time_errors_and_health(
    timeline: Timeline,
    capsys: pytest.CaptureFixture[str],
    seconds: float,
    error: ServerDraining | DeadlineExceeded,
    told_after: float,
    figure: str | None,
) -> None:
    seen = [(moment / 10, not told_after <= moment / 10 - 100 < 4) for moment in range(900, 1_200)]
    recovery = Recovery(victim="retrieve", began=99.0, seconds=seconds, failures=[Failure(100.0, error)])
    verdicts = Verdicts()
    judge_kills(verdicts, Server(seen), [recovery], calm(timeline))
    assert verdicts.passed == (figure is None)
    if figure is not None:
        assert verdict(capsys, figure) == "FAIL"


@pytest.mark.parametrize(
    ("victim", "at", "wanted"),
    [("retrieve", 100.0, "PASS"), ("retrieve", 120.0, "FAIL"), ("embed_query", 100.0, "FAIL")],
)
def test_a_request_may_fail_only_while_something_that_it_needs_is_harmed(
    timeline: Timeline, capsys: pytest.CaptureFixture[str], victim: str, at: float, wanted: str
) -> None:
    load = calm(timeline, failures=[Failure(at, ServerDraining("a process died"))])
    judge_kills(
        Verdicts(), Server([(at, False)]), [Recovery(victim=victim, began=99.0, seconds=5.0, failures=[])], load
    )
    assert verdict(capsys, "unharmed") == wanted


def test_a_triton_that_is_back_too_late_fails(timeline: Timeline, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = Verdicts()
    judge_kills(
        verdicts, Server([]), [Recovery(victim=TRITON, how="SIGSTOP", seconds=15.1, failures=[])], calm(timeline)
    )
    assert not verdicts.passed
    assert verdict(capsys, "Triton recovered") == "FAIL"


def test_a_process_that_is_not_there_counts_as_not_recovered_and_nothing_gets_the_signal() -> None:
    class Gone(Server):
        stubs = ()
        triton = gateway = 0

    for victim in ("retrieve", TRITON, GATEWAY):
        assert Gone([]).harm_and_wait(victim, signal.SIGCONT).seconds == math.inf


def test_what_ends_a_caller_ends_the_soak(timeline: Timeline) -> None:
    with pytest.raises(ZeroDivisionError), Load("localhost:1", 0.0, timeline):
        pass
