"""Steps, what they need, and running them so that one that fails stops no other."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from shopwindow_loadtests.gpu.results import DONE, FAILED, LEFT_OUT, Entry, Results


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to measure or to check.

    Attributes:
        name: `group/what`, as `faiss/1M/flat`.
        needs: names of `shopwindow_loadtests.gpu.machine.abilities`.
        run: measures and returns figures by name; what it raises is its failure.
        always: runs also where it has succeeded before, since later steps need what it makes.
    """

    name: str
    needs: tuple[str, ...]
    run: Callable[[], dict[str, Any]]
    always: bool = False


def run_steps(steps: Iterable[Step], results: Results, missing: dict[str, str], say: Callable[[str], None]) -> None:
    """Run what has not succeeded yet, and keep every outcome as it comes.

    Args:
        steps: in order.
        results: receives them.
        missing: abilities this machine lacks -> why; steps that need one are left out.
        say: tells the user.
    """
    for step in steps:
        if results.done(step.name) and not step.always:
            say(f"{step.name}: done before")
            continue
        lacking = [missing[need] for need in step.needs if need in missing]
        if lacking:
            results.add(Entry(step=step.name, status=LEFT_OUT, reason="; ".join(lacking)))
            say(f"{step.name}: left out: {'; '.join(lacking)}")
            continue
        started = time.perf_counter()
        try:
            values, status, reason = step.run(), DONE, ""
        except Exception as error:
            values, status, reason = {}, FAILED, f"{type(error).__name__}: {error}"
            say(traceback.format_exc())
        seconds = round(time.perf_counter() - started, 1)
        results.add(Entry(step=step.name, status=status, seconds=seconds, values=values, reason=reason))
        say(f"{step.name}: {status} in {seconds} s {reason or values}")
