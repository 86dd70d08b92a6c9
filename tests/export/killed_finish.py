"""Ends a build that is embedded whole, again and again, each time killed just before another change of the file system.

Arguments: a template home, a repository, a catalogue, a folder for the killed homes. Imports once, forks for each kill.
The home that was killed at moment n is the folder's `n`; prints the moments, those before the publishing thinned out.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from export.index import build_index

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
STRIDE = 16


def build(home: Path, repository: Path, catalog: Path, last: int | None) -> list[str]:
    """Build, and die of SIGKILL just before the home is changed for the time number `last`; returns the changes."""
    done: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in EVENTS or not str(arguments[0]).startswith(str(home)):
            return
        if event == "open" and arguments[1] in ("r", "rb", None):
            return
        if len(done) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(f"{event} {arguments[0]}")

    sys.addaudithook(hook)
    build_index(catalog, repository, home, progress=False)
    return done


def fork(home: Path, repository: Path, catalog: Path, last: int | None) -> int:
    """Build in a process of its own, which writes what it changed beside the home; returns its exit code."""
    child = os.fork()
    if child == 0:
        done = build(home, repository, catalog, last)
        home.with_suffix(".json").write_text(json.dumps(done))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(template: Path, repository: Path, catalog: Path, folder: Path) -> None:
    """Build once without a kill to learn the moments, then kill at some of them."""
    whole = folder / "whole"
    shutil.copytree(template, whole)
    assert fork(whole, repository, catalog, None) == 0
    done: list[str] = json.loads(whole.with_suffix(".json").read_text())
    manifest = next(place for place, change in enumerate(done) if change.endswith("manifest.json"))
    moments = [*range(0, manifest, STRIDE), *range(manifest, len(done))]
    for moment in moments:
        home = folder / str(moment)
        shutil.copytree(template, home)
        assert fork(home, repository, catalog, moment) == -signal.SIGKILL
    print(json.dumps(moments))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
