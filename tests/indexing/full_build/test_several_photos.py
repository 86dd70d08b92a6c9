"""A product with several photos is found by each of them, and one with unreadable photos by what is left."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.main import main
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.photos.options import PhotoOptions, Unreadable
from shopwindow.indexing.full_build.run import build_index
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.embedding.content_hash import content_hash
from shopwindow.retrieval.index.folder import read_index, read_manifest
from shopwindow.retrieval.index.home import resolve_index

Row = dict[str, Any]


@pytest.fixture(scope="module")
def products(shop: Path) -> list[Row]:
    """Twenty products of the shop that have a title and a photo, with different photos."""
    rows = pq.read_table(shop / "products.parquet", columns=["product_id", "title", "image", "price"]).to_pylist()
    kept = {row["image"]: row for row in rows if row["title"] and row["image"]}
    return list(kept.values())[:20]


def write(file: Path, rows: list[Row]) -> Path:
    kind = pa.list_(pa.binary())
    table = pa.Table.from_pylist([{name: value for name, value in row.items() if name != "image"} for row in rows])
    pq.write_table(table.append_column("image", pa.array([row["image"] for row in rows], kind)), file)
    return file


def unread(home: Path) -> list[tuple[str, str]]:
    with (resolve_index(home) / "unread_photos.csv").open(newline="") as file:
        return [(line["row"], line["reason"]) for line in csv.DictReader(file)]


def test_a_product_is_found_by_its_second_photo(tmp_path: Path, repository: Path, products: list[Row]) -> None:
    """The second photo of each of ten products is one that no product of the other index has."""
    first = [{**row, "image": [row["image"]]} for row in products[:10]]
    both = [
        {**row, "image": [row["image"], other["image"]]} for row, other in zip(products, products[10:], strict=False)
    ]
    ranks = {}
    for name, rows in (("first", first), ("both", both)):
        build_index(write(tmp_path / f"{name}.parquet", rows), repository, tmp_path / name, progress=False)
        pipeline = InProcessPipeline(repository, tmp_path / name)
        found = pipeline.retrieve_similar([""] * 10, [row["image"] for row in products[10:]], top_k=10).product_ids
        ranks[name] = [row.tolist().index(product["product_id"]) for row, product in zip(found, products, strict=False)]
    assert np.median(ranks["both"]) == 0 and np.mean(ranks["both"]) < 0.6
    assert np.mean(ranks["first"]) > 2


def test_the_vector_is_the_normalised_mean_over_the_first_photos(
    tmp_path: Path, repository: Path, products: list[Row]
) -> None:
    counts = [0, 1, 2, 3, 4, 6]
    rows = [{**products[n], "image": [p["image"] for p in products[n : n + count]]} for n, count in enumerate(counts)]
    build_index(write(tmp_path / "a.parquet", rows), repository, tmp_path / "index", progress=False)
    pipeline = InProcessPipeline(repository)
    for row, vector in zip(rows, read_index(tmp_path / "index").vectors, strict=True):
        photos = row["image"][:4] or [b""]
        mean = pipeline.embed_product([row["title"]] * len(photos), photos)[0].mean(axis=0)
        assert np.abs(vector - mean / np.linalg.norm(mean)).max() < 1e-5
    hashes = np.load(resolve_index(tmp_path / "index") / "content.npy").tolist()
    assert hashes == [content_hash(row["title"], *row["image"][:4]) for row in rows]
    again = [{**row, "price": 1.0} for row in rows]
    again[2]["image"] = again[2]["image"][::-1]
    again[5]["image"] = [*again[5]["image"][:4], products[19]["image"]]  # a fifth photo is not read
    update = update_index(tmp_path / "index", repository, changes=write(tmp_path / "b.parquet", again), progress=False)
    assert (update.embedded_again, update.attributes_only) == (1, 5)


def test_a_product_whose_photos_cannot_be_read_is_indexed_by_what_is_left(
    tmp_path: Path, repository: Path, products: list[Row]
) -> None:
    good = [row["image"] for row in products[:5]]
    rows = [
        {**products[0], "image": [good[0], b"broken", good[1]]},
        {**products[1], "image": [b"broken"]},
        {**products[2], "image": [b"broken", b"gone"], "title": None},
        {**products[3], "image": [good[3]]},
        {**products[4], "image": None},
    ]
    file, home = write(tmp_path / "a.parquet", rows), tmp_path / "index"
    manifest = build_index(file, repository, home, progress=False)
    assert (manifest.count, manifest.skipped, manifest.unread_photos) == (4, 1, 2)
    (first, second) = unread(home)
    assert first[0] == "0" and first[1].startswith("image 2 of 3: not a readable JPEG")
    assert first[1].endswith("; indexed by its other photos")
    assert second[0] == "1" and second[1].endswith("; indexed by its title")
    skipped = (resolve_index(home) / "skipped.csv").read_text()
    assert "image 1 of 2: not a readable" in skipped and "image 2 of 2: not a readable" in skipped
    pipeline = InProcessPipeline(repository)
    vectors = read_index(home).vectors
    mean = pipeline.embed_product([products[0]["title"]] * 2, good[:2])[0].mean(axis=0)
    assert np.abs(vectors[0] - mean / np.linalg.norm(mean)).max() < 1e-5
    assert np.abs(vectors[1] - pipeline.embed_product([products[1]["title"]], [b""])[0]).max() < 1e-5
    # The same again changes nothing, and a photo that can be read now is taken.
    update = update_index(home, repository, changes=file, progress=False)
    assert (update.attributes_only, update.embedded_again, update.skipped, update.unread_photos) == (4, 0, 1, 2)
    assert unread(home) == [first, second]
    rows[1]["image"] = [good[1]]
    update = update_index(home, repository, changes=write(file, rows[:2]), progress=False)
    assert (update.attributes_only, update.embedded_again, update.unread_photos) == (1, 1, 1)
    reading = CatalogOptions(photos=PhotoOptions(unreadable=Unreadable.LEAVE_OUT))
    rows[1]["image"] = [b"broken"]
    manifest = build_index(write(file, rows), repository, tmp_path / "without", reading=reading, progress=False)
    assert (manifest.count, manifest.skipped, manifest.unread_photos) == (3, 2, 1)
    update = update_index(tmp_path / "without", repository, changes=file, progress=False)  # in the same way
    assert (update.attributes_only, update.added, update.skipped) == (3, 0, 2)


def test_the_command_reads_photos_from_files_and_several_columns(
    tmp_path: Path, repository: Path, products: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    """As a shop has them: a CSV with file names, photos in a folder of their own. An update reads them likewise."""
    (tmp_path / "photos").mkdir()
    lines = ["product_id,title,front,back"]
    for number, row in enumerate(products[:6]):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(row["image"])
        lines.append(f"{row['product_id']},mug {number},{number}.jpg,{'missing.jpg' if number == 3 else ''}")
    lines[1] += "1.jpg"
    catalogue, home = tmp_path / "a.csv", tmp_path / "index"
    catalogue.write_text("\n".join(lines))
    places = ["--repository", str(repository)]
    command = ["index", "--catalog", str(catalogue), *places, "--out", str(home), "--map", "image=front+back"]
    assert main(command) != 0
    assert "none of the first 8 photos can be read; the first reason: cannot read" in capsys.readouterr().err
    assert main([*command, "--photos", str(tmp_path / "photos")]) == 0
    said = capsys.readouterr().out
    assert f"photos that cannot be read: 1; they are indexed without these, and listed with reasons in {home}" in said
    manifest = read_manifest(home)
    assert manifest.reading["photos"] == {"folder": str(tmp_path / "photos")}
    hashes = np.load(resolve_index(home) / "content.npy").tolist()
    assert hashes[0] == content_hash("mug 0", products[0]["image"], products[1]["image"])
    assert hashes[1:] == [content_hash(f"mug {n}", products[n]["image"]) for n in range(1, 6)]
    (tmp_path / "elsewhere").mkdir()
    changes = tmp_path / "elsewhere" / "changes.csv"
    changes.write_text(f"product_id,title,front,back\n{products[1]['product_id']},mug 1,2.jpg,3.jpg")
    assert main(["update", "--index", str(home), *places, "--changes", str(changes)]) == 0
    assert "embedded again 1" in capsys.readouterr().out
    hashes = np.load(resolve_index(home) / "content.npy").tolist()
    assert hashes[-1] == content_hash("mug 1", products[2]["image"], products[3]["image"])
