"""Busy or hanging: what the processes of a pipeline did since the last look decides."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from shopwindow.server.processes import Stub
from shopwindow.server.watch.progress import Progress, Sample, take_sample
from tests.server.watching import until

STEPS = ["tokenizer", "tower", "index"]
STUBS = [Stub(pid=pid, model=model) for pid, model in enumerate(STEPS, 1)]

Start = Callable[[str], int]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a Python program that says when it has begun. It is killed at the end."""
    running = []

    def begin(code: str) -> int:
        command = [sys.executable, "-c", f"print(flush=True)\n{code}"]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert running[-1].stdout is not None
        running[-1].stdout.readline()
        return running[-1].pid

    yield begin
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def moves(pid: int, seconds: float = 0.5) -> bool:
    progress = Progress([], take_sample([pid], {}))
    ends = time.monotonic() + seconds
    until(lambda: time.monotonic() > ends)
    progress.add(take_sample([pid], {}))
    return progress.moves(pid)


def test_a_process_that_computes_in_any_thread_moves(start: Start) -> None:
    assert moves(start("import threading\nthreading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()"))


def test_a_process_that_waits_for_a_core_moves(start: Start) -> None:
    """It gets next to no time, because others of the same machine want all cores."""
    core = "import os, sys\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    for _ in range(3):
        start(f"{core}while True: pass")
    assert moves(start(f"{core}os.nice(19)\nwhile True: pass"), 1.0)


def test_a_process_that_does_nothing_does_not_move(start: Start) -> None:
    # Three wake-ups a second, as the thread of a stub that tells its health
    assert not moves(start("import time\nwhile True: time.sleep(0.3)"), 2.0)


def test_a_process_that_is_gone_does_not_move(start: Start) -> None:
    assert not moves(2**22 + 1)  # larger than any process id


@pytest.mark.parametrize(
    ("computed", "answered", "stuck"),
    [
        # Nothing happens: the first step has the canary and does nothing with it.
        ((0, 0, 0), (0, 0, 0), "tokenizer"),
        # A long batch: the steps behind it have nothing to do.
        ((1, 0, 0), (0, 0, 0), None),
        ((0, 1, 0), (9, 0, 0), None),
        # A step gets work and does nothing.
        ((1, 0, 0), (9, 0, 0), "tower"),
        ((1, 1, 0), (9, 9, 0), "index"),
        # A step that answers works, even if it does not compute: it may wait for another server.
        ((1, 1, 0), (9, 9, 9), None),
        ((0, 0, 0), (9, 9, 9), None),
        ((1, 1, 1), (9, 9, 0), None),
    ],
)
def test_the_step_at_fault_gets_work_and_does_nothing(
    computed: tuple[float, ...], answered: tuple[int, ...], stuck: str | None
) -> None:
    before = Sample(at=0.0, effort_s={1: 5.0, 2: 5.0, 3: 5.0}, answered=dict.fromkeys(STEPS, 7))
    after = Sample(
        at=2.0,
        effort_s={pid: 5.0 + seconds for pid, seconds in enumerate(computed, 1)},
        answered={step: 7 + count for step, count in zip(STEPS, answered, strict=True)},
    )
    progress = Progress(STUBS, before)
    progress.add(after)
    assert progress.stuck_step(STEPS) == stuck


def test_a_model_that_computes_for_minutes_without_an_answer_hangs() -> None:
    progress = Progress(STUBS, Sample(at=0.0, effort_s={1: 0.0}))
    for second in range(2, 302, 2):
        progress.add(Sample(at=float(second), effort_s={1: float(second)}))
        assert progress.stuck_step(STEPS) is None
    progress.add(Sample(at=302.0, effort_s={1: 302.0}))
    assert progress.stuck_step(STEPS) == "tokenizer"
