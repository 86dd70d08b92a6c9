"""Starts the Locust processes of a load test and waits for them."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from shopwindow.base.default_places import python_path
from shopwindow_loadtests.scenario.errors import HarnessFailure
from shopwindow_loadtests.scenario.options import LoadTestOptions

OPTIONS_VARIABLE = "SHOPWINDOW_LOADTEST"

_HERE = Path(__file__).resolve().parent
_START_S = 120.0  # time for all workers to start, including those on other machines


def launch(options: LoadTestOptions) -> None:
    """Send the load of a test; afterwards its samples are in `options.samples_file`.

    Args:
        options: The test. With `join`, this process takes a part in another test, which keeps the samples.

    Raises:
        HarnessFailure: A process failed, or did not end.
    """
    if options.join is not None:
        host, _, port = options.join.rpartition(":")
        _wait([_start(options, "--worker", "--master-host", host, "--master-port", port)], limit_s=None)
        return
    if options.workers == 1 and not options.elsewhere:
        commands: list[tuple[str, ...]] = [("--headless",)]
    else:
        port = str(options.port or _free_port())
        host = "*" if options.elsewhere else "127.0.0.1"
        master = ("--headless", "--master", "--master-bind-host", host, "--master-bind-port", port)
        expected = ("--expect-workers", str(options.workers), "--expect-workers-max-wait", str(int(_START_S)))
        worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
        commands = [(*master, *expected), *[worker] * (options.workers - options.elsewhere)]
        if options.elsewhere:
            print(f"waiting for {options.elsewhere} workers on port {port}", flush=True)
    # In case everything hangs. Silence between the processes has a shorter limit, in `scheduled`.
    limit_s = _START_S + options.duration_s + 3 * options.timeout_s + 180
    _wait([_start(options, *command) for command in commands], limit_s=limit_s)


def _start(options: LoadTestOptions, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "locust", "-f", str(_HERE / "locustfile.py"), *arguments]
    command += ["--loglevel", "WARNING", "--stop-timeout", str(math.ceil(options.timeout_s)), "--only-summary"]
    # Another process, because Locust replaces threads and sockets by gevent's in the one in which it runs.
    environment = {**os.environ, "PYTHONPATH": python_path(), OPTIONS_VARIABLE: options.to_json()}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


def _wait(processes: list[subprocess.Popen[bytes]], *, limit_s: float | None) -> None:
    """Wait until all processes have ended without an error. If one fails, end them all."""
    deadline = math.inf if limit_s is None else time.monotonic() + limit_s
    try:
        while True:
            codes = [process.poll() for process in processes]
            failed = [(process.pid, code) for process, code in zip(processes, codes, strict=True) if code]
            if failed:
                raise HarnessFailure(
                    f"Locust process {failed[0][0]} ended with status {failed[0][1]}; see above for why"
                )
            if None not in codes:
                return
            if time.monotonic() > deadline:
                raise HarnessFailure(f"the Locust processes did not end within {limit_s:.0f} s")
            time.sleep(0.05)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
