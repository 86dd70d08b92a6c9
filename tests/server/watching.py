"""Watching a server: its own metrics, and waiting for what will come."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable

from shopwindow.server import TritonServer


def metric(server: TritonServer, name: str, **labels: str) -> float:
    """One of our metrics, summed over what the labels leave open; NaN when there is none."""
    text = urllib.request.urlopen(server.metrics_url).read().decode()
    found = [
        float(value)
        for described, value in re.findall(rf"^shopwindow_{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        if all(f'{label}="{wanted}"' in described for label, wanted in labels.items())
    ]
    return sum(found) if found else float("nan")


def until(condition: Callable[[], bool]) -> None:
    """Wait for what will come; the test's own time limit ends it."""
    while not condition():
        time.sleep(0.02)
