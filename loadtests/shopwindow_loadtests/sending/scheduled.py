"""Users for `shopwindow loadtest`: they follow its schedule, and their samples come together in one file.

Import it after the preparations in `locustfile`.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from typing import Any

from locust import LoadTestShape, User, constant, events, task
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

from shopwindow_loadtests.judging.slo import ExitCode, read_slo
from shopwindow_loadtests.scenario.mix import read_mix
from shopwindow_loadtests.scenario.options import LoadTestOptions
from shopwindow_loadtests.sending.collecting import Collector
from shopwindow_loadtests.sending.launching import OPTIONS_VARIABLE
from shopwindow_loadtests.sending.session import Session

OPTIONS = LoadTestOptions.from_json(os.environ[OPTIONS_VARIABLE])
MIX = read_mix(OPTIONS)
SILENCE_S = 60.0  # a process that sends reports far more often, even without samples


class Process:
    """The parts of the test in this process.

    Attributes:
        runner: Locust's runner.
        session: Sends the requests; a master has none.
        collector: Collects the samples of all processes; a worker has none.
    """

    runner: Runner
    session: Session
    collector: Collector


HERE = Process()


class ClosedLoopUser(User):
    """Sends the next request when it has the answer to the last one."""

    abstract = OPTIONS.open_loop
    wait_time = constant(0)

    @task
    def send_one(self) -> None:
        """Send one request."""
        HERE.session.send_one()


class OpenLoopUser(User):
    """Sends each request when it is due. There is one such user in each process."""

    abstract = not OPTIONS.open_loop
    wait_time = constant(0)

    @task
    def send_all(self) -> None:
        """Send all requests of the test."""
        HERE.session.send_when_due()


class Schedule(LoadTestShape):
    """Tells Locust how many users there are and when the test is over."""

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users and how many to start per second; None ends the test."""
        at_s: float = self.get_run_time()  # type: ignore[no-untyped-call]
        silent_s = min(at_s, HERE.collector.silent_s)  # the wait for the workers does not count
        if HERE.collector.complete or HERE.collector.skewed or silent_s > SILENCE_S + OPTIONS.timeout_s:
            return None  # only after the last samples arrived: Locust itself gives workers half a second
        if OPTIONS.shape == "ramp" and HERE.collector.failing:
            finish()
        users = OPTIONS.workers if OPTIONS.open_loop else math.ceil(OPTIONS.load.level(at_s))
        return users, users


def finish() -> None:
    """Tell all processes to stop sending."""
    if isinstance(HERE.runner, MasterRunner):
        HERE.runner.send_message("finish")
    else:
        HERE.session.finished = True


def begin(environment: Environment, **_: Any) -> None:
    """Prepare this process for its part of the test."""
    # No table by Locust: its percentiles are rounded, and its counts can miss the last second.
    logging.getLogger("locust.stats_logger").disabled = True
    assert environment.runner is not None  # Locust makes it first
    runner = HERE.runner = environment.runner
    if isinstance(runner, WorkerRunner):
        HERE.session = Session(OPTIONS, MIX, lambda **data: runner.send_message("samples", data))
        runner.register_message("finish", lambda **_: setattr(HERE.session, "finished", True))
        return
    HERE.collector = Collector(OPTIONS, read_slo(OPTIONS, [request.name for request in MIX.requests]))
    if isinstance(runner, MasterRunner):
        runner.register_message("samples", lambda msg, **_: HERE.collector.take(**msg.data))
    else:
        HERE.session = Session(OPTIONS, MIX, HERE.collector.take)


def start(**_: Any) -> None:
    """Start the clock of the test in this process."""
    if isinstance(HERE.runner, MasterRunner):
        return
    try:
        HERE.session.start(max(0, getattr(HERE.runner, "worker_index", 0)))
    except Exception as error:  # Locust would log it, go on, and log another error for every request
        print(f"this process cannot send: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(ExitCode.HARNESS_FAILURE)


def end(**_: Any) -> None:
    """Close the file of samples and end this process, with a failure if samples are missing."""
    code = ExitCode.OK
    if not isinstance(HERE.runner, WorkerRunner):
        HERE.collector.close()
        if not HERE.collector.complete:
            done = f"{HERE.collector.done} of {OPTIONS.workers}"
            print(f"samples are missing: {done} workers delivered all of theirs", file=sys.stderr)
            code = ExitCode.HARNESS_FAILURE
        if HERE.collector.skewed:
            print(HERE.collector.skewed, file=sys.stderr)
            code = ExitCode.HARNESS_FAILURE
    for row in HERE.runner.exceptions.values():
        print(row["traceback"], file=sys.stderr)
        code = ExitCode.HARNESS_FAILURE
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Locust's own shutdown takes up to 3 s, and nothing needs it any more


events.init.add_listener(begin)  # type: ignore[no-untyped-call]
events.test_start.add_listener(start)  # type: ignore[no-untyped-call]
events.quitting.add_listener(end)  # type: ignore[no-untyped-call]
