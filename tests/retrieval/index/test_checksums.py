"""An index folder that is not what was written is refused, whichever byte of it changed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import IndexUnfit
from shopwindow.retrieval.errors import Unfit
from shopwindow.retrieval.index import checksums
from shopwindow.retrieval.index.checksums import Verify
from shopwindow.retrieval.index.folder import read_index, read_manifest, write_manifest
from shopwindow.retrieval.index.lexical import LexicalIndex
from tests.retrieval.index_parts import make_index, unit_vectors, write_folder

ROWS = 3_600  # as many as the demo shop has
ADDED = 40
FAULTS = 40  # of each file


def write(folder: Path, kind: str) -> Path:
    """Write an index folder with every file that one can have: an updated index with a lexical channel."""
    index = make_index(kind, ROWS, delta=ADDED, dead=ADDED)
    titles = index.attributes["title"].to_pylist()
    write_folder(
        folder,
        index,
        product_ids=np.append(index.product_ids, np.arange(ADDED)),
        attributes=pa.concat_tables([index.attributes, index.attributes[:ADDED]]),
        lexical=LexicalIndex.build([*titles, *titles[:ADDED]]),
        content=np.arange(ROWS + ADDED).astype(np.uint64),
    )
    np.save(folder / "delta.npy", unit_vectors(ADDED, seed=3))
    np.save(folder / "alive.npy", np.arange(ROWS + ADDED) >= ADDED)
    (folder / "bundle").mkdir()
    (folder / "bundle" / "bundle.json").write_text("{}")
    write_manifest(folder, read_manifest(folder, Verify.OFF))
    return folder


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return write(tmp_path / "index", "flat")


def faults(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """Yield changed copies: flipped bits, blocks of noise or zeros, cut short, longer."""
    for _ in range(FAULTS):
        changed, place = bytearray(data), rng.randrange(len(data)) if data else 0
        length = min(4_096, len(data) - place)
        match rng.choice(["flip", "flip", "noise", "zeros", "short", "long"]) if data else "long":
            case "flip":
                changed[place] ^= 1 << rng.randrange(8)
            case "noise":
                changed[place : place + length] = rng.randbytes(length)
            case "zeros":
                changed[place : place + length] = bytes(length)
            case "short":
                del changed[place:]
            case "long":
                changed += rng.randbytes(1 + rng.randrange(8))
        if changed != data:
            yield bytes(changed)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_every_fault_in_every_file_is_refused_and_the_file_named(tmp_path: Path, kind: str) -> None:
    folder, rng = write(tmp_path / "index", kind), random.Random(kind)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) >= 14
    for file in files:
        data = file.read_bytes()
        for changed in faults(data, rng):
            file.write_bytes(changed)
            with pytest.raises(IndexUnfit, match=f"^{file}: ") as refused:
                read_index(folder)
            assert refused.value.kind in (Unfit.CHANGED, Unfit.INCOMPLETE, Unfit.UNREADABLE)
        file.write_bytes(data)
    assert read_index(folder).manifest.count == ROWS


def test_any_changed_byte_of_the_manifest_is_refused(flat: Path) -> None:
    file = flat / "manifest.json"
    data = file.read_bytes()
    for place, byte in enumerate(data):
        for other in {byte ^ 1, byte ^ 32, ord("\r")} - {byte}:
            file.write_bytes(data[:place] + bytes([other]) + data[place + 1 :])
            with pytest.raises(IndexUnfit):
                read_manifest(flat)
    file.write_bytes(data)
    assert read_manifest(flat).count == ROWS


def test_a_missing_file_is_named_and_counts_as_a_copy_under_way(flat: Path) -> None:
    for name in ("content.npy", "lexical/params.index.json", "skipped.csv"):
        data = (flat / name).read_bytes()
        (flat / name).unlink()
        with pytest.raises(
            IndexUnfit, match=rf"{flat}: is incomplete, {name} missing: if it is still being copied"
        ) as no:
            read_index(flat)
        assert no.value.kind is Unfit.INCOMPLETE
        (flat / name).write_bytes(data)


def test_a_file_that_servers_would_open_is_refused_and_others_are_left_alone(flat: Path) -> None:
    for name in (".DS_Store", "._vectors.npy", ".nfs0000000001", "notes.txt"):
        (flat / name).write_text("not ours")
    assert read_index(flat).manifest.count == ROWS
    (flat / "milvus.json").write_text('{"collection": "other"}')
    with pytest.raises(IndexUnfit, match=r"milvus\.json did not belong to this index when it was written: remove it"):
        read_index(flat)


def test_fast_sees_sizes_and_both_ends_of_a_large_file(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "BLOCK_BYTES", 2**12)
    write_manifest(flat, read_manifest(flat))
    file = flat / "vectors.npy"
    data = file.read_bytes()
    assert len(data) > 3 * 2**12

    def refused(place: int, verify: Verify) -> bool:
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            return read_index(flat, verify=verify) is None
        except IndexUnfit:
            return True

    middle, at_the_ends = len(data) // 2, (0, 2**12 - 1, len(data) - 2**12, len(data) - 1)
    assert len(data) % 2**12  # so the last bytes lie in two blocks
    assert [refused(place, Verify.FAST) for place in (*at_the_ends, middle)] == [True] * 4 + [False]
    assert all(refused(place, Verify.FULL) for place in (*at_the_ends, middle))
    file.write_bytes(data + b"0")
    with pytest.raises(IndexUnfit, match=rf"has {len(data) + 1:,} bytes, manifest\.json says {len(data):,}"):
        read_index(flat, verify=Verify.FAST)


def test_off_compares_nothing_and_the_environment_sets_the_level(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.load(flat / "product_ids.npy")
    ids[0] ^= 1
    np.save(flat / "product_ids.npy", ids)
    assert read_index(flat, verify=Verify.OFF).product_ids[0] == ids[0]
    with pytest.raises(
        IndexUnfit, match=r"product_ids\.npy: is not what was written, by the checksum of its bytes 0 to"
    ):
        read_index(flat)
    monkeypatch.setenv("SHOPWINDOW_VERIFY", "off")
    assert read_index(flat).product_ids[0] == ids[0]
    monkeypatch.setenv("SHOPWINDOW_VERIFY", "ful")
    with pytest.raises(ValueError, match="SHOPWINDOW_VERIFY: must be one of full, fast, off, got 'ful'"):
        read_index(flat)
    monkeypatch.setenv("SHOPWINDOW_VERIFY", "")
    with pytest.raises(IndexUnfit, match=r"product_ids\.npy"):
        read_index(flat)


def test_an_index_of_an_earlier_version_is_served_and_the_log_says_what_it_lacks(
    flat: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fields = json.loads((flat / "manifest.json").read_text())
    del fields["files"], fields["checksum"]
    (flat / "manifest.json").write_text(json.dumps({**fields, "format": 1, "metric": "inner_product"}, indent=2))
    assert read_index(flat).manifest.count == ROWS
    assert f"{flat} has no checksums, because an earlier version wrote it" in caplog.text
    write_manifest(flat, read_manifest(flat))
    (flat / "skipped.csv").write_text("")
    with pytest.raises(IndexUnfit, match=r"skipped\.csv: has 0 bytes"):
        read_index(flat)


def test_files_that_are_shared_with_a_loaded_index_are_not_read_again(flat: Path, tmp_path: Path) -> None:
    """A fault in a shared file shows who reads it: only a process that has not loaded it yet."""
    before, later = read_index(flat), tmp_path / "later"
    later.mkdir()
    for file in flat.iterdir():
        if file.is_file() and file.name not in ("manifest.json", "skipped.csv"):
            os.link(file, later / file.name)
    for folder in ("lexical", "bundle"):
        (later / folder).mkdir()
        for file in (flat / folder).iterdir():
            os.link(file, later / folder / file.name)
    (later / "skipped.csv").write_text("")
    write_manifest(later, replace(read_manifest(flat), generation=2))
    about = (later / "vectors.npy").stat()
    with (later / "vectors.npy").open("r+b") as stream:  # a fault on the disk: the time stays
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x7f")
    os.utime(later / "vectors.npy", ns=(about.st_atime_ns, about.st_mtime_ns))
    after = read_index(later, before=before)
    assert after.vectors is before.vectors and after.manifest.generation == 2
    with pytest.raises(IndexUnfit, match=r"vectors\.npy: is not what was written"):
        read_index(later)
    pq.write_table(before.attributes, later / "attributes.parquet", compression="none")
    with pytest.raises(IndexUnfit, match=r"attributes\.parquet: has"):
        read_index(later, before=before)
