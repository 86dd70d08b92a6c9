"""Runs updates that are killed, each just before another change of the file system. Imports once, forks for every kill.

Arguments: a template home, a repository, a change file, an id to remove, a folder for the killed homes.
The home that was killed at moment n is the folder's `n`; prints the moments, those before the publishing thinned out.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from export.update import update_index

EVENTS = {"open", "os.link", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
STRIDE = 8


def update(home: Path, repository: Path, changes: Path, removed: int, last: int | None) -> list[str]:
    """Update, and die of SIGKILL just before the home is changed for the time number `last`; returns the changes."""
    done: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in EVENTS or not str(arguments[0]).startswith(str(home)):
            return
        if event == "open" and arguments[1] in ("r", "rb", None):
            return
        if len(done) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(event)

    sys.addaudithook(hook)
    update_index(home, repository, changes=changes, removed=[removed], progress=False)
    return done


def fork(home: Path, repository: Path, changes: Path, removed: int, last: int | None) -> int:
    """Update in a process of its own, which writes what it changed beside the home; returns its exit code."""
    child = os.fork()
    if child == 0:
        done = update(home, repository, changes, removed, last)
        home.with_suffix(".json").write_text(json.dumps(done))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(template: Path, repository: Path, changes: Path, removed: int, folder: Path) -> None:
    """Update once without a kill to learn the moments, then kill at some of them."""
    whole = folder / "whole"
    shutil.copytree(template, whole)
    assert fork(whole, repository, changes, removed, None) == 0
    done: list[str] = json.loads(whole.with_suffix(".json").read_text())
    published = len(done) - done[::-1].index("os.link")
    moments = [*range(0, published, STRIDE), *range(published, len(done))]
    for moment in moments:
        home = folder / str(moment)
        shutil.copytree(template, home)
        assert fork(home, repository, changes, removed, moment) == -signal.SIGKILL
    print(json.dumps(moments))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]), Path(sys.argv[5]))
