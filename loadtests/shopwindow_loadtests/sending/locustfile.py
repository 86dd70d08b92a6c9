"""The Locust side of a load test: users that send, and the way of their samples to one file. Started by the runner."""

# The order matters: Locust patches the standard library when it is imported, gRPC must then be told about gevent
# before its first channel, and only after that may the client be used.
# ruff: noqa: E402, I001
from __future__ import annotations

import logging
import math
import os
import sys
from typing import Any

from locust import LoadTestShape, User, constant, events, task
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner
from grpc.experimental.gevent import init_gevent

init_gevent()

from shopwindow_loadtests.sending.collecting import Collector
from shopwindow_loadtests.scenario.mix import read_mix
from shopwindow_loadtests.scenario.options import LoadTestOptions
from shopwindow_loadtests.sending.launching import OPTIONS_VARIABLE
from shopwindow_loadtests.sending.session import Session
from shopwindow_loadtests.judging.slo import ExitCode, read_slo

OPTIONS = LoadTestOptions.from_json(os.environ[OPTIONS_VARIABLE])
MIX = read_mix(OPTIONS)
SILENCE_S = 60.0  # a process that sends reports far more often, however few its samples are


class Process:
    """What this process has of the test.

    Attributes:
        runner: Locust's.
        session: What it sends; a master has none.
        collector: Where the samples of all processes come together; a worker has none.
    """

    runner: Runner
    session: Session
    collector: Collector


HERE = Process()


class Shopper(User):
    """A closed-loop user: asks again when it has its answer."""

    abstract = OPTIONS.open_loop
    wait_time = constant(0)

    @task
    def shop(self) -> None:
        """Send one request."""
        HERE.session.send_one()


class Metronome(User):
    """The open loop, once in each process: sends when it is time to."""

    abstract = not OPTIONS.open_loop
    wait_time = constant(0)

    @task
    def beat(self) -> None:
        """Send all requests of the test."""
        HERE.session.send_when_due()


class Plan(LoadTestShape):
    """Tells Locust how many users there are, and when all is over."""

    def tick(self) -> tuple[int, float] | None:
        """Users and how many to start a second; None ends the test."""
        at_s: float = self.get_run_time()  # type: ignore[no-untyped-call]
        silent_s = min(at_s, HERE.collector.silent_s)  # not while the workers were being waited for
        if HERE.collector.complete or HERE.collector.skewed or silent_s > SILENCE_S + OPTIONS.timeout_s:
            return None  # never before the last samples are here: Locust itself gives workers half a second
        if OPTIONS.shape == "ramp" and HERE.collector.failing:
            finish()
        users = OPTIONS.workers if OPTIONS.open_loop else math.ceil(OPTIONS.load.level(at_s))
        return users, users


def finish() -> None:
    """Let all processes stop sending."""
    if isinstance(HERE.runner, MasterRunner):
        HERE.runner.send_message("finish")
    else:
        HERE.session.finished = True


def begin(environment: Environment, **_: Any) -> None:
    """Prepare this process for its part."""
    # Locust's own table: its percentiles are rounded, and its counts can miss the last second.
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
    """Let the time run."""
    if not isinstance(HERE.runner, MasterRunner):
        HERE.session.start(max(0, getattr(HERE.runner, "worker_index", 0)))


def end(**_: Any) -> None:
    """Close the file of samples, and end this process; with a failure where samples are missing."""
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
    os._exit(code)  # Locust puts itself away for up to 3 s, and nothing of it is needed any more


events.init.add_listener(begin)  # type: ignore[no-untyped-call]
events.test_start.add_listener(start)  # type: ignore[no-untyped-call]
events.quitting.add_listener(end)  # type: ignore[no-untyped-call]
