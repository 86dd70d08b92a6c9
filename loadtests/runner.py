"""Runs one load test in a Locust process of its own and returns its exit code."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

from loadtests.options import LoadTestOptions
from shopwindow_client import RetrievalClient

EXIT_NOT_READY = 1
EXIT_LIMIT_BROKEN = 3

OPTIONS_VARIABLE = "SHOPWINDOW_LOADTEST"

_HERE = Path(__file__).resolve().parent


def run(options: LoadTestOptions) -> int:
    """Send load for the stated time, write the reports, print a summary and judge it.

    `options.out` then holds `locust_stats.csv`, `locust_stats_history.csv`, `locust_failures.csv`,
    `locust_exceptions.csv`, `report.html` and `samples.csv`, with one line a request.

    Args:
        options: The test.

    Returns:
        0 when every limit was kept, EXIT_LIMIT_BROKEN when one was not, EXIT_NOT_READY when the server doesn't serve
        `retrieve` and nothing was sent; Locust's own code when it fails.
    """
    with RetrievalClient(options.url, timeout_s=options.timeout_s) as client:
        health = client.health()
    if not health.models.get("retrieve", False):
        why = health.detail or f"{options.url} is reachable, but its model retrieve is not ready"
        print(f"no load was sent: {why}", file=sys.stderr)
        return EXIT_NOT_READY

    options.out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "locust", "-f", str(_HERE / "locustfile.py"), "--headless", "--only-summary"]
    command += ["--users", str(options.users), "--spawn-rate", str(options.spawn_rate or options.users)]
    command += ["--run-time", f"{options.duration_s}s", "--stop-timeout", str(math.ceil(options.timeout_s))]
    command += ["--csv", str(options.out / "locust"), "--html", str(options.out / "report.html")]
    command += ["--loglevel", "WARNING"]
    # A process of its own, because Locust replaces threads and sockets by gevent's in the one it runs in.
    search_path = os.pathsep.join(filter(None, [str(_HERE.parent), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search_path, OPTIONS_VARIABLE: options.to_json()}
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
