"""Watch a server: read its metrics, and wait for a condition."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable

from shopwindow.server import TritonServer


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
