"""Run as a script. Kills updates, each just before a different change of the file system, in forked processes.

Arguments: a template home, a repository, a change file, an id to remove, a folder for the killed homes.
The home of the update killed before change n is `n` in the folder. Prints the numbers of these changes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from shopwindow.indexing.update.run import update_index
from tests.indexing.full_build.dying import killed_homes

STRIDE = 8


def moments(done: list[str]) -> list[int]:
    """Some changes until the last file of the base is linked, and all after that."""
    linked = max(place for place, change in enumerate(done) if change.startswith("os.link "))
    return [*range(0, linked + 1, STRIDE), *range(linked + 1, len(done))]


def main(template: Path, repository: Path, changes: Path, removed: int, folder: Path) -> None:
    """Kill the updates, and print the numbers of the changes."""

    def update(home: Path) -> None:
        update_index(home, repository, changes=changes, removed=[removed], progress=False)

    print(json.dumps(killed_homes(template, folder, update, moments)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]), Path(sys.argv[5]))
