"""Runs updates that are killed, each just before another change of the file system. Imports once, forks for every kill.

Arguments: a template home, a repository, a change file, an id to remove, a folder for the killed homes.
The home that was killed at moment n is the folder's `n`; prints the moments, those before the publishing thinned out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from shopwindow.indexing.update.run import update_index
from tests.indexing.full_build.dying import killed_homes

STRIDE = 8


def moments(done: list[str]) -> list[int]:
    """Some until the last file of the base is linked, all from then on."""
    linked = max(place for place, change in enumerate(done) if change.startswith("os.link "))
    return [*range(0, linked + 1, STRIDE), *range(linked + 1, len(done))]


def main(template: Path, repository: Path, changes: Path, removed: int, folder: Path) -> None:
    """Kill, and print the moments."""

    def update(home: Path) -> None:
        update_index(home, repository, changes=changes, removed=[removed], progress=False)

    print(json.dumps(killed_homes(template, folder, update, moments)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]), Path(sys.argv[5]))
