"""Ends a build that is embedded whole, again and again, each time killed just before another change of the file system.

Arguments: a template home, a repository, a catalogue, a folder for the killed homes. Imports once, forks for each kill.
The home that was killed at moment n is the folder's `n`; prints the moments, those before the publishing thinned out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from shopwindow.indexing.full_build.run import build_index
from tests.indexing.full_build.dying import killed_homes

STRIDE = 16


def moments(done: list[str]) -> list[int]:
    """Some until the manifest is written, all from then on."""
    manifest = next(place for place, change in enumerate(done) if change.endswith("manifest.json"))
    return [*range(0, manifest, STRIDE), *range(manifest, len(done))]


def main(template: Path, repository: Path, catalog: Path, folder: Path) -> None:
    """Kill, and print the moments."""

    def build(home: Path) -> None:
        build_index(catalog, repository, home, progress=False)

    print(json.dumps(killed_homes(template, folder, build, moments)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
