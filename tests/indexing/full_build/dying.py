"""Run work on an index home in forked processes, each killed just before a different change of the home."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

EVENTS = {"open", "os.link", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}

Work = Callable[[Path], object]


def killed_homes(template: Path, folder: Path, work: Work, moments: Callable[[list[str]], Iterable[int]]) -> list[int]:
    """Run the work once without a kill, then once for each chosen moment, each time on a copy of the template.

    Args:
        template: the home to begin with.
        folder: receives the copies, each named by its moment.
        work: changes a home.
        moments: gets the changes that the first run made, each as "event path", and chooses some by number. A run is
            killed just before the change of that number.

    Returns:
        The chosen moments.
    """
    done = folder / "done.json"
    assert _fork(_copied(template, folder / "whole"), work, None, done) == 0
    chosen = list(moments(json.loads(done.read_text())))
    for moment in chosen:
        assert _fork(_copied(template, folder / str(moment)), work, moment, done) == -signal.SIGKILL
    return chosen


def _copied(template: Path, home: Path) -> Path:
    shutil.copytree(template, home)
    return home


def _fork(home: Path, work: Work, last: int | None, done: Path) -> int:
    """Return the exit code of a process that works, writes what it changed, and is killed before change `last`."""
    child = os.fork()
    if child == 0:
        changes = _watched(home, last)
        work(home)
        done.write_text(json.dumps(changes))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _watched(home: Path, last: int | None) -> list[str]:
    changes: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in EVENTS or not str(arguments[0]).startswith(str(home)):
            return
        if event == "open" and arguments[1] in ("r", "rb", None):
            return
        if len(changes) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        changes.append(f"{event} {arguments[0]}")

    sys.addaudithook(hook)
    return changes
