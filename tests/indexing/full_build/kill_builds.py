"""Run as a script. Builds an index again and again in forked processes, and kills them.

Arguments: catalogue, repository, home, then for each build the number of the file operation inside the home at which
the build is killed; 0 lets it end. Prints what the builds say, and after each build the served generation.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import shopwindow.indexing.full_build.embedders as embedders
import shopwindow.indexing.full_build.embedding as embedding
from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval.index.folder import read_manifest

EVENTS = ("open", "os.rename", "os.truncate", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")


def main() -> None:
    catalog, repository, home = sys.argv[1:4]
    embedders.TOWER_ROWS, embedding.PART_ROWS = 2, 4
    for moment in map(int, sys.argv[4:]):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            if moment:
                kill_at(moment, home)
            build_index(Path(catalog), Path(repository), Path(home), progress=False, say=lambda line: print(line))
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("ended:", os.waitstatus_to_exitcode(status), "serves:", read_manifest(Path(home)).generation)


def kill_at(moment: int, home: str) -> None:
    left = [moment]

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event in EVENTS and str(args[0]).startswith(home):
            left[0] -= 1
            if left[0] == 0:
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


main()
