"""A killed update leaves the old or the new generation, and does not disturb the next update."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.index.folder import read_manifest
from shopwindow.retrieval.index.home import IndexHome
from tests.indexing.homes import SCHEMA, Truth, write_rows

ROOT = Path(__file__).resolve().parents[3]


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_generation(
    tmp_path: Path, repository: Path, shop: Path
) -> None:
    rows = pq.read_table(shop / "products.parquet").slice(0, 24).to_pylist()
    pool = [{name: row[name] for name in SCHEMA.names} | {"image": None} for row in rows]
    old = Truth(InProcessPipeline(repository))
    for _ in range(3):  # so that the update removes the first
        old.build(tmp_path / "template", pool[:20])
    removed = pool[0]["product_id"]
    new = Truth(old.pipeline, {row["product_id"]: row for row in pool[1:]}, old.known)
    queries = old.vectors(pool[::5])
    changes = write_rows(tmp_path / "changes.parquet", pool[20:])
    (tmp_path / "killed").mkdir()
    arguments = [tmp_path / "template", repository, changes, removed, tmp_path / "killed"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.indexing.update.killed_update", *map(str, arguments)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    homes = [tmp_path / "killed" / str(moment) for moment in json.loads(done.stdout)]
    served = [read_manifest(home).generation for home in homes]
    assert len(homes) >= 8
    assert served == sorted(served)  # old up to one moment, new from then on
    assert set(served) == {3, 4}
    for home, generation in zip(homes, served, strict=True):
        (old if generation == 3 else new).assert_served(home, queries)
    # The next update removes what a killed one left, and takes a number that no folder has.
    for home in homes[: served.index(4)][-3:]:
        number = IndexHome(home).next_generation
        result = update_index(home, repository, changes=changes, removed=[removed], progress=False)
        assert (result.generation, result.added, result.removed) == (number, 4, 1)
        new.assert_served(home, queries)
        assert {entry.name for entry in home.iterdir()} == {".lock", ".pointer.lock", "CURRENT", "generations"}
        assert IndexHome(home).generations == [2, 3, number]
