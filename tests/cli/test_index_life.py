"""The commands on an index home: what they print, what they change, and how they fail."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.index.generations import await_served
from shopwindow.cli.main import main
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.update.removed import read_removed
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval import parse_parameters
from shopwindow.retrieval.embedding.content_hash import content_hash
from shopwindow.retrieval.errors import GenerationRefused, IndexUnfit
from shopwindow.retrieval.index.folder import read_manifest, write_index
from shopwindow.retrieval.index.home import IndexHome, Pointer, resolve_index
from shopwindow.retrieval.live.awaiting_servers import wait_until_served
from shopwindow.retrieval.live.live_index import LiveIndex
from shopwindow.retrieval.milvus.index import FILE
from shopwindow.retrieval.opening import open_index
from tests.retrieval.index_parts import make_index

ROWS = 60


@pytest.fixture
def home(tmp_path: Path) -> Path:
    index, place = make_index("flat", ROWS), IndexHome(tmp_path / "index")
    titles = index.attributes["title"].to_pylist()
    with place.writing():
        write_index(
            place.building,
            manifest=index.manifest,
            vectors=index.vectors,
            product_ids=index.product_ids,
            attributes=index.attributes,
            engine=index.engine,
            skipped="row,product_id,reason\n",
            content=np.array([content_hash(title, b"") for title in titles], np.uint64),
        )
        place.publish(place.building, 1)
    return place.path


def ids(home: Path, **parameters: Any) -> list[int]:
    """Return the ids of all products that a search finds, sorted."""
    index = open_index(home)
    assert index.folder is not None
    result = index.search_batch([(index.folder.vectors[:1], parse_parameters({"top_k": ROWS, **parameters}))])[0]
    return sorted(product for product in result.product_ids[0].tolist() if product >= 0)


def test_an_update_its_rollback_and_a_compaction(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = ids(home)
    pq.write_table(
        pa.table({"product_id": [*every[:3], 5], "price": [7.0] * 4, "title": [None] * 4}), tmp_path / "changes.parquet"
    )
    arguments = ["--index", str(home), "--changes", str(tmp_path / "changes.parquet")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)  # there is no repository here
        assert main(["index", "update", *arguments]) == 1
        assert "shopwindow export" in capsys.readouterr().err  # product 5 is new
        pq.write_table(pa.table({"product_id": every[:3], "price": [7.0] * 3}), tmp_path / "changes.parquet")
        assert main(["index", "update", *arguments, "--remove", f"{every[-1]},{every[-2]},4"]) == 0
    printed = capsys.readouterr().out
    assert "added 0, embedded again 0, attributes only 3, removed 2 products" in printed
    assert f"wrote {home}, generation 2, {ROWS - 2} products" in printed
    assert "not in the index, so not removed: 1 (4)" in printed
    assert "no running server watches this index" in printed
    assert ids(home) == every[:-2] and set(ids(home, filter={"price": 7.0})) >= {*every[:3]}

    assert main(["rollback", "--index", str(home)]) == 0
    printed = capsys.readouterr().out
    assert "is back at generation 1" in printed and "'shopwindow rollback' goes back to generation 2" in printed
    assert ids(home) == every
    assert main(["index", "rollback", "--index", str(home)]) == 0
    assert ids(home) == every[:-2]

    (tmp_path / "gone.txt").write_text("\n".join(map(str, every[:6])))
    capsys.readouterr()
    assert main(["update", "--index", str(home), "--remove", str(tmp_path / "gone.txt")]) == 0
    assert f"0 added rows and 8 removed ones of {ROWS} slow searches down" in capsys.readouterr().out
    assert main(["index", "compact", "--index", str(home), "--recipe", "flat"]) == 0
    assert f"compacted {home} to {ROWS - 8} products, recipe Flat" in capsys.readouterr().out
    assert ids(home) == every[6:-2]
    assert np.load(resolve_index(home) / "vectors.npy").shape[0] == ROWS - 8
    assert main(["update", "--index", str(home), "--remove", str(every[6]), "--compact"]) == 0
    assert (read_manifest(home).count, read_manifest(home).dead) == (ROWS - 9, 0)


def test_after_a_refused_update_the_old_generation_is_current(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def load(folder: Path, before: str | None) -> str:
        if before is not None:
            raise ValueError("it does not fit into memory")
        return folder.name

    best = ids(home)[0]
    live = LiveIndex(home, load)
    try:
        assert main(["update", "--index", str(home), "--remove", str(best)]) == 1
        assert "it does not fit into memory" in capsys.readouterr().err
        assert IndexHome(home).pointer == Pointer(generation=1)
        assert live.current == "000001" and best in ids(home)
        assert main(["rollback", "--index", str(home), "--to", "2"]) == 1  # tried again, and refused again
        assert "'shopwindow rollback --to 2' tries it again" in capsys.readouterr().err
        assert IndexHome(home).pointer == Pointer(generation=1)
    finally:
        live.close()


def test_after_two_refused_updates_the_home_names_the_served_generation(home: Path) -> None:
    every, slow = ids(home), threading.Event()

    def load(folder: Path, before: str | None) -> str:
        if before is not None:
            slow.wait()
            raise ValueError("it does not fit into memory")
        return folder.name

    def update(product: int) -> int:
        return update_index(home, home / "no repository", removed=[product], progress=False).generation

    live = LiveIndex(home, load)
    try:
        first, second = update(every[0]), update(every[1])
        slow.set()
        # A third update may be running. It must not hide the refusal.
        with IndexHome(home).writing(), pytest.raises(GenerationRefused, match="it does not fit into memory"):
            await_served(home, second, 60)
        assert (first, second) == (2, 3)
        assert IndexHome(home).pointer == Pointer(generation=1)
        assert ids(home) == every
        IndexHome(home).rollback(second)
        with pytest.raises(GenerationRefused):
            wait_until_served(home, second)
        with pytest.raises(
            IndexUnfit, match=r"generation 3 .* was refused by .*, which still serves 1: it does not fit"
        ):
            update(every[2])
        assert IndexHome(home).generations == [1, 2, 3]
    finally:
        slow.set()
        live.close()


def test_after_a_refused_build_the_home_names_the_old_generation(
    home: Path, tmp_path: Path, repository: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(folder: Path, before: str | None) -> str:
        if before is not None:
            raise ValueError("it does not fit into memory")
        return folder.name

    pq.write_table(pq.read_table(shop / "products.parquet").slice(0, 5), tmp_path / "few.parquet")
    live = LiveIndex(home, load)
    try:
        arguments = ["--catalog", str(tmp_path / "few.parquet"), "--repository", str(repository), "--out", str(home)]
        assert main(["index", *arguments]) == 1
        assert f"{home} is back at generation 1" in capsys.readouterr().err
        assert (IndexHome(home).pointer, live.generation) == (Pointer(generation=1), 1)
    finally:
        live.close()


def test_the_command_waits_for_a_kept_index_as_for_a_new_one(
    tmp_path: Path, repository: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pq.read_table(shop / "products.parquet").slice(0, 5), tmp_path / "few.parquet")
    place = tmp_path / "index"
    places = ["--catalog", str(tmp_path / "few.parquet"), "--repository", str(repository), "--out", str(place)]
    command = ["index", *places, "--if-changed", "--expect-processes", "1", "--timeout", "0.1"]
    for _ in range(2):  # published but not served: first a new index, then a kept one
        assert main(command) == 1
        assert "served by 0 processes, 1 were expected" in capsys.readouterr().err
        assert IndexHome(place).pointer == Pointer(generation=1)
    live = LiveIndex(place, lambda folder, before: folder.name)
    try:
        assert main(command) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(f"kept {place}, generation 1: ") and "served by 1 processes" in printed
    finally:
        live.close()


def test_a_rollback_needs_no_lock_and_reaches_any_generation_on_disk(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = ids(home)
    for product in every[:2]:
        assert main(["update", "--index", str(home), "--remove", str(product)]) == 0
    with IndexHome(home).writing(), IndexHome(home).filling():
        assert main(["rollback", "--index", str(home), "--to", "1"]) == 0
        assert ids(home) == every
        assert main(["rollback", "--index", str(home)]) == 0
        assert ids(home) == every[2:]
    assert main(["rollback", "--index", str(home), "--to", "9"]) == 1
    assert "no generation 9 to go back to; on disk: [1, 2, 3]" in capsys.readouterr().err
    assert main(["rollback", "--index", str(home), "--timeout", "0.1", "--expect-processes", "2"]) == 1
    assert "served by 0 processes, 2 were expected" in capsys.readouterr().err


def test_an_index_in_milvus_says_where_to_update(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (resolve_index(home) / FILE).write_text('{"collection": "shopwindow_000001"}')
    assert main(["update", "--index", str(home), "--remove", "1"]) == 1
    assert f"then run 'shopwindow milvus --index THAT --out {home}'" in capsys.readouterr().err


def test_ids_to_remove_come_from_a_list_or_a_file(home: Path, tmp_path: Path) -> None:
    assert read_removed("7, SKU 9,11", home) == ["7", "SKU 9", "11"]
    (tmp_path / "ids.txt").write_text("7\nSKU 9\n\n11\n")
    assert read_removed(str(tmp_path / "ids.txt"), home) == ["7", "SKU 9", "11"]
    (tmp_path / "ids.csv").write_text("product_id,other\n7,a\n8,b\n")
    assert read_removed(str(tmp_path / "ids.csv"), home) == ["7", "8"]
    pq.write_table(pa.table({"product_id": [7, None, 9], "other": ["a"] * 3}), tmp_path / "ids.parquet")
    assert read_removed(str(tmp_path / "ids.parquet"), home) == [7, 9]
    pq.write_table(pa.table({"id": [7]}), tmp_path / "ids.parquet")
    with pytest.raises(CatalogError, match=r"--remove: .*ids\.parquet needs a column 'product_id'; it has \['id'\]"):
        read_removed(str(tmp_path / "ids.parquet"), home)
    with pytest.raises(CatalogError, match="removed: the index has whole numbers as ids, got 'x7'"):
        update_index(home, tmp_path, removed=read_removed("3,x7", home), progress=False)
    with pytest.raises(CatalogError, match=r"--remove: there is no file .*nope\.txt; name a file of ids"):
        read_removed(str(tmp_path / "nope.txt"), home)


def test_impossible_changes_are_one_line_errors(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["update", "--index", str(home)], "--changes, --remove: give a file of changes, or products to remove"),
        (["rollback", "--index", str(home)], "no previous generation to go back to; on disk: [1]"),
        (["rollback", "--index", str(tmp_path / "no")], "is not an index home with a served generation"),
        (["compact", "--index", str(tmp_path / "no")], "is not an index home with a served generation"),
    ):
        assert main(arguments) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
