"""Watch a server: read its metrics, probe it, and wait for a condition."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from shopwindow.server import TritonServer

ROOT = Path(__file__).parents[2]


def metric(server: TritonServer, name: str, **labels: str) -> float:
    """Return a Shopwindow metric, summed over all series with these labels; NaN if there is none."""
    text = urllib.request.urlopen(server.metrics_url).read().decode()
    found = [
        float(number)
        for described, number in re.findall(rf"^shopwindow_{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        if all(f'{label}="{value}"' in described for label, value in labels.items())
    ]
    return sum(found) if found else float("nan")


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true. Only the time limit of the test run ends the wait earlier."""
    while not condition():
        time.sleep(0.02)


def probe(*arguments: str, timeout: float = 20.0) -> tuple[int, str]:
    """Run `shopwindow probe` and return its exit status and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "shopwindow.cli.main", "probe", "--timeout", str(timeout), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr
