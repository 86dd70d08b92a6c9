"""Steps and the abilities that they need. A step that fails does not stop the others."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from shopwindow_loadtests.gpu.results import DONE, FAILED, LEFT_OUT, Entry, Results


@dataclass(frozen=True, kw_only=True)
class Step:
    """One measurement or check.

    Attributes:
        name: `group/what`, such as `search/1M/flat`.
        needs: Names from `shopwindow_loadtests.gpu.machine.ABILITIES`.
        run: Measures and returns figures by name. An exception means that the step failed.
        always: Whether to run it even if it has succeeded before, because later steps need the files that it makes.
    """

    name: str
    needs: tuple[str, ...]
    run: Callable[[], dict[str, Any]]
    always: bool = False


def run_steps(steps: Iterable[Step], results: Results, missing: dict[str, str], say: Callable[[str], None]) -> None:
    """Run the steps that have not succeeded yet, and save every outcome at once.

    Args:
        steps: The steps, in order.
        results: Receives the outcomes.
        missing: Ability that this machine lacks -> why. Steps that need it are left out.
        say: Prints a message for the user.
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
