"""Run as a script. Finishes an embedded build again and again, each time killed before a different file change.

Arguments: a template home, a repository, a catalogue, a folder for the killed homes.
The home of the build killed before change n is `n` in the folder. Prints the numbers of these changes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from shopwindow.indexing.full_build.run import build_index
from tests.indexing.full_build.dying import killed_homes

STRIDE = 16


def moments(done: list[str]) -> list[int]:
    """Some changes until the manifest is written, and all after that."""
    manifest = next(place for place, change in enumerate(done) if change.endswith("manifest.json"))
    return [*range(0, manifest, STRIDE), *range(manifest, len(done))]


def main(template: Path, repository: Path, catalog: Path, folder: Path) -> None:
    """Kill the builds, and print the numbers of the changes."""

    def build(home: Path) -> None:
        build_index(catalog, repository, home, progress=False)

    print(json.dumps(killed_homes(template, folder, build, moments)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
