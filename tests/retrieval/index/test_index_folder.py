"""Index folders: written as a whole or not at all, read only if all parts fit together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import IndexUnfit, RequestParameters
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.attribute_texts import write_texts
from shopwindow.retrieval.index.folder import read_index, read_manifest, write_manifest
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.opening import open_index
from tests.retrieval.index_parts import TOWERS, make_index, unit_vectors, write_folder

ROWS = 200
ROOT = Path(__file__).resolve().parents[3]
SERVED = (
    *("manifest.json", "vectors.npy", "product_ids.npy", "attributes.parquet", "attributes.arrow"),
    *("index.faiss", "index.rows.npy"),
)
LATER = ("attributes.arrow", "index.rows.npy")  # earlier versions wrote none


@pytest.fixture
def hnsw(tmp_path: Path) -> Path:
    """A written index folder with every file that a server reads."""
    write_folder(tmp_path / "index", make_index("hnsw", ROWS))
    return tmp_path / "index"


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """No checksum is compared, so that faults are left to the other checks."""
    monkeypatch.setenv("SHOPWINDOW_VERIFY", "off")


def damaged(file: Path) -> Iterator[None]:
    """Remove a file, cut it short at several places, and fill it with other bytes, one after the other."""
    data = file.read_bytes()
    file.unlink()
    yield
    for share in (0.0, 0.5, 0.97):
        file.unlink(missing_ok=True)  # and never write into it: a memory map may be open
        file.write_bytes(data[: int(share * len(data))])
        yield
    file.unlink()
    file.write_bytes(b"\xff\xfenot what it was" * 100)
    yield


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_a_written_index_is_read_back(tmp_path: Path, kind: str) -> None:
    written = make_index(kind, ROWS, generation=7, skipped=3)
    write_folder(tmp_path / "index", written)
    found = read_index(tmp_path / "index")
    assert found.manifest == written.manifest
    assert read_manifest(tmp_path / "index") == written.manifest
    assert np.array_equal(found.vectors, written.vectors)
    assert np.array_equal(found.product_ids, written.product_ids)
    assert found.attributes.equals(written.attributes)
    expected = written.engine.search(written.vectors[:9], 5, 5, None)
    assert np.array_equal(found.engine.search(written.vectors[:9], 5, 5, None), expected)
    files = {file.name for file in (tmp_path / "index").iterdir()}
    lacks = {"flat": {"index.faiss", "index.rows.npy"}, "hnsw": set(), "ivf": {"index.rows.npy"}}
    assert files == {*SERVED, "skipped.csv"} - lacks[kind]


def test_the_vectors_are_memory_mapped(hnsw: Path) -> None:
    assert isinstance(read_index(hnsw).vectors, np.memmap)


@pytest.fixture
def lexical(tmp_path: Path) -> Path:
    """A written index folder with a lexical channel."""
    titles = [f"mug number {row}" if row % 3 else "" for row in range(ROWS)]
    write_folder(tmp_path / "index", replace(make_index("flat", ROWS), lexical=LexicalIndex.build(titles)))
    return tmp_path / "index"


def test_a_lexical_channel_is_read_back_from_disk(lexical: Path) -> None:
    found = read_index(lexical).lexical
    assert found is not None and found.rows == ROWS
    scores, rows = found.search("mugs 7", 3)
    assert rows.tolist() == [7, 1, 2]
    assert scores[0] > scores[1] == scores[2] > 0
    assert isinstance(found._scores.scores["data"], np.memmap)


def test_the_same_titles_give_the_same_files_in_another_process(lexical: Path, tmp_path: Path) -> None:
    # The order of Python's sets differs between processes.
    code = (
        "import pathlib, sys; from shopwindow.retrieval.index.lexical import LexicalIndex; "
        f"LexicalIndex.build([f'mug number {{row}}' if row % 3 else '' for row in range({ROWS})])"
        ".write(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "again")], check=True, cwd=ROOT)
    files = {file.name: file.read_bytes() for file in (lexical / "lexical").iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()} == files


def test_an_index_without_a_lexical_channel_is_served(hnsw: Path) -> None:
    index = open_index(hnsw, tower_hash=TOWERS)
    assert index.lexical is None
    assert len(index.search_batch([(np.array(unit_vectors(ROWS)[:2]), RequestParameters())])[0].scores) == 2


@pytest.mark.parametrize(
    "name",
    ["data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy", "vocab.index.json", "params.index.json"],
)
@pytest.mark.usefixtures("unverified")
def test_an_error_names_a_lexical_channel_with_a_missing_or_truncated_file(lexical: Path, name: str) -> None:
    for _ in damaged(lexical / "lexical" / name):
        with pytest.raises(IndexUnfit, match=str(lexical / "lexical")):
            read_index(lexical)


@pytest.mark.usefixtures("unverified")
def test_a_lexical_channel_of_other_titles_is_refused(lexical: Path) -> None:
    other = LexicalIndex.build(["mug"] * (ROWS - 1))
    assert other is not None
    other.write(lexical / "lexical")
    with pytest.raises(IndexUnfit, match=rf"parts disagree.*'lexical': {ROWS - 1}"):
        read_index(lexical)
    np.save(lexical / "lexical" / "indptr.csc.index.npy", np.array([0, 1, 2]))
    with pytest.raises(IndexUnfit, match="lexical: parts disagree: 1 words, 3 ends"):
        read_index(lexical)


@pytest.mark.parametrize(
    ("name", "verify"),
    [
        *((name, "full") for name in SERVED),
        *((name, "off") for name in SERVED if name not in LATER),
    ],
)
def test_an_error_names_a_file_that_is_missing_truncated_or_has_other_content(
    hnsw: Path, name: str, verify: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPWINDOW_VERIFY", verify)
    for _ in damaged(hnsw / name):
        with pytest.raises(IndexUnfit, match=name.replace(".", r"\.")):
            read_index(hnsw)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[]", "not a manifest"),
        ("{}", "format None, this version reads formats 1 and 2"),
        ('{"format": 3}', "format 3, this version reads formats 1 and 2"),
        ('{"format": 2}', "not a manifest .*files"),
        ('{"format": 1}', "not a manifest .*recipe"),
        ('{"format": 1, "recipe": {"kind": "flat", "factory": "Flat"}, "colour": 1}', "not a manifest .*colour"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(hnsw: Path, text: str, named: str) -> None:
    (hnsw / "manifest.json").write_text(text)
    with pytest.raises(IndexUnfit, match=rf"manifest\.json: {named}"):
        read_index(hnsw)


def test_a_folder_without_an_index_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(IndexUnfit, match=rf"no index in {tmp_path} .*shopwindow index"):
        read_index(tmp_path)


def other_vectors(folder: Path) -> None:
    np.save(folder / "vectors.npy", unit_vectors(ROWS - 1))


def other_ids(folder: Path) -> None:
    np.save(folder / "product_ids.npy", np.arange(ROWS - 1))


def other_attributes(folder: Path) -> None:
    pq.write_table(pa.table({"colour": ["red"] * (ROWS - 1)}), folder / "attributes.parquet")


def other_texts(folder: Path) -> None:
    write_texts(folder, pa.table({"colour": ["red"] * (ROWS - 1)}))


def other_engine(folder: Path) -> None:
    FaissCpuEngine.build(unit_vectors(ROWS - 1), choose_recipe(ROWS, "hnsw")).write(folder / "index.faiss")


def other_count(folder: Path) -> None:
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**fields, "count": ROWS - 1}))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (other_vectors, "vectors.npy"),
        (other_ids, "product_ids.npy"),
        (other_attributes, "attributes.parquet"),
        (other_texts, "attributes.arrow"),
        (other_engine, "index.faiss"),
        (other_count, "manifest.json"),
    ],
)
@pytest.mark.usefixtures("unverified")
def test_an_error_shows_all_counts_if_they_disagree(hnsw: Path, change: Callable[[Path], None], name: str) -> None:
    change(hnsw)
    with pytest.raises(IndexUnfit, match="parts disagree") as caught:
        read_index(hnsw)
    assert f"'{name}': {ROWS - 1}" in str(caught.value)
    assert str(caught.value).count(f": {ROWS}") >= 4


@pytest.mark.parametrize("name", ["vectors.npy", "index.faiss", "manifest.json"])
@pytest.mark.usefixtures("unverified")
def test_dimensions_that_disagree_are_refused(hnsw: Path, name: str) -> None:
    narrow = np.ascontiguousarray(unit_vectors(ROWS)[:, :16])
    if name == "vectors.npy":
        np.save(hnsw / name, narrow)
    elif name == "index.faiss":
        FaissCpuEngine.build(narrow, choose_recipe(ROWS, "hnsw")).write(hnsw / name)
    else:
        fields = json.loads((hnsw / name).read_text())
        (hnsw / name).write_text(json.dumps({**fields, "dim": 16}))
    with pytest.raises(IndexUnfit, match="parts disagree") as caught:
        read_index(hnsw)
    assert f"'{name}': 16" in str(caught.value)


def test_an_error_names_both_towers_if_the_index_has_others(hnsw: Path) -> None:
    with pytest.raises(IndexUnfit, match="filled by towers aaaaaaaaaaaa, the repository serves towers bbbbbbbbbbbb"):
        open_index(hnsw, tower_hash="b" * 64)
    index = open_index(hnsw, tower_hash=TOWERS)
    result = index.search_batch([(np.array(unit_vectors(ROWS)[20:21]), RequestParameters(top_k=1))])[0]
    assert result.product_ids.tolist() == [[int(make_index("flat", ROWS).product_ids[20])]]


@pytest.fixture
def updated(hnsw: Path) -> Path:
    """The folder after an update: five new products with the vectors of the first five replace those."""
    index = make_index("hnsw", ROWS)
    np.save(hnsw / "delta.npy", index.vectors[:5])
    np.save(hnsw / "alive.npy", np.arange(ROWS + 5) >= 5)
    np.save(hnsw / "product_ids.npy", np.append(index.product_ids, np.arange(5)))
    attributes = pa.concat_tables([index.attributes, index.attributes[:5]])
    pq.write_table(attributes, hnsw / "attributes.parquet")
    write_texts(hnsw, attributes)
    write_manifest(hnsw, replace(index.manifest, delta=5, dead=5))
    return hnsw


def test_an_updated_index_finds_its_delta_and_no_dead_rows(updated: Path) -> None:
    folder = read_index(updated)
    assert folder.live_rows.tolist() == list(range(5, ROWS + 5))
    assert folder.all_vectors.shape == (ROWS + 5, folder.manifest.dim)
    index = open_index(updated)
    found = index.search_batch([(unit_vectors(ROWS)[:5], RequestParameters(top_k=ROWS))])[0].product_ids
    # The last ten rows repeat the first ten, so two products have the best score.
    assert all(product in row[:2] for product, row in enumerate(found.tolist()))
    assert sorted(found[0].tolist()) == sorted(index.product_ids[5:].tolist())


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("delta.npy", np.ones((4, 24), np.float32), f"parts disagree.*'delta.npy': {ROWS + 4}"),
        ("delta.npy", np.ones((5, 16), np.float32), r"parts disagree.*'delta.npy': 16"),
        ("delta.npy", None, r"delta\.npy"),
        ("alive.npy", np.ones(ROWS + 5, bool), f"parts disagree.*False counted by manifest.json': {ROWS + 10}"),
        ("alive.npy", np.arange(ROWS + 4) >= 5, f"parts disagree.*'alive.npy': {ROWS + 4}"),
        ("alive.npy", None, r"alive\.npy"),
    ],
)
@pytest.mark.usefixtures("unverified")
def test_parts_of_an_update_that_disagree_are_refused(
    updated: Path, name: str, value: np.ndarray | None, named: str
) -> None:
    (updated / name).unlink()
    if value is not None:
        np.save(updated / name, value)
    with pytest.raises(IndexUnfit, match=named):
        read_index(updated)


def test_reading_an_index_home_reads_its_served_generation(tmp_path: Path) -> None:
    home = IndexHome(tmp_path / "home")
    for generation in (1, 2):
        with home.writing():
            write_folder(home.building, make_index("flat", 30 + generation, generation=generation))
            home.publish(home.building, generation)
    assert read_manifest(home.path).count == len(read_index(home.path).product_ids) == 32
    home.rollback()
    assert open_index(home.path).manifest.count == 31


def test_a_new_index_replaces_the_old_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "index", make_index("hnsw", ROWS))
    write_folder(tmp_path / "index", make_index("flat", 50, generation=2))
    assert read_index(tmp_path / "index").manifest.generation == 2
    assert not (tmp_path / "index" / "index.faiss").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_write_that_fails_leaves_the_old_index_and_nothing_else(hnsw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file.name: file.read_bytes() for file in hnsw.iterdir()}

    def disk_full(engine: FaissCpuEngine, file: Path) -> None:
        file.write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(FaissCpuEngine, "write", disk_full)
    with pytest.raises(OSError, match="no space left"):
        write_folder(hnsw, make_index("hnsw", ROWS, generation=2))
    assert {file.name: file.read_bytes() for file in hnsw.iterdir()} == before
    assert read_index(hnsw).manifest.generation == 1
    assert [path.name for path in hnsw.parent.iterdir()] == ["index"]


def test_the_old_index_comes_back_if_the_last_rename_fails(hnsw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise OSError("busy")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(OSError, match="busy"):
        write_folder(hnsw, make_index("hnsw", ROWS, generation=2))
    assert read_index(hnsw).manifest.generation == 1
    assert [path.name for path in hnsw.parent.iterdir()] == ["index"]
