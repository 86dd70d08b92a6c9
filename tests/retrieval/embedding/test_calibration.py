"""The calibration in bundle.json: optional, of these towers, and taken by the next one who loads them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval import InProcessPipeline, InvalidRequest
from shopwindow.retrieval.embedding.bundle import CARRIED, FILE, Bundle
from shopwindow.retrieval.embedding.calibration import Calibration
from shopwindow.retrieval.errors import BundleUnfit
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.live.loading import pipeline_loader
from tests.conftest import CHECKPOINT
from tests.whole_server.other_towers import copied

TOWERS = "a" * 64
BARE = Bundle(tower_hash=TOWERS, embedding_dim=8, query_max_tokens=4, title_max_tokens=4, image_size=16)
CALIBRATION = Calibration(towers=TOWERS, source="q, r", queries=40, products=9, points=((0.5, 0.25), (0.8, 0.5)))


def test_a_bundle_without_a_calibration_is_as_earlier_versions_wrote_it(tmp_path: Path) -> None:
    BARE.write(tmp_path)
    assert "calibration" not in json.loads((tmp_path / FILE).read_text())
    assert Bundle.read(tmp_path).calibration is None
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_bundle_with_a_calibration_reads_back_and_has_the_same_towers(tmp_path: Path) -> None:
    replace(BARE, calibration=CALIBRATION).write(tmp_path)
    read = Bundle.read(tmp_path)
    assert read.calibration == CALIBRATION
    assert read == BARE  # so that a server does not read the towers again


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": []},
        {"points": [[0.8, 0.5], [0.5, 0.25]]},
        {"points": [[0.5, 0.5], [0.8, 0.25]]},
        {"points": [[0.5, "high"]]},
        {"points": None},
        {"points": [[0.5, float("nan")]]},
        {"more": 1},
    ],
)
def test_a_damaged_calibration_is_refused_by_file(tmp_path: Path, wrong: dict[str, Any]) -> None:
    values = {**asdict(BARE), "calibration": {**asdict(CALIBRATION), **wrong}}
    (tmp_path / FILE).write_text(json.dumps(values))
    with pytest.raises(BundleUnfit, match=rf"{FILE}: .*calibration.*shopwindow evaluate --calibrate"):
        Bundle.read(tmp_path)


def test_a_calibration_beside_another_checkpoint_is_refused(tmp_path: Path) -> None:
    assert Calibration.beside(tmp_path, TOWERS) is None
    CALIBRATION.write_beside(tmp_path)
    assert Calibration.beside(tmp_path, TOWERS) == CALIBRATION
    with pytest.raises(BundleUnfit, match=f"is of towers {'a' * 12}, the checkpoint is {'b' * 12}"):
        Calibration.beside(tmp_path, "b" * 64)


def test_the_demo_s_export_has_the_calibration_that_is_beside_its_checkpoint(repository: Path) -> None:
    found = Bundle.read(repository)
    assert found.calibration is not None
    assert found.calibration == Calibration.beside(CHECKPOINT, found.tower_hash)


def test_a_calibration_reaches_an_index_that_carries_the_towers(repository: Path, shop: Path, tmp_path: Path) -> None:
    """Its folder has checksums, so nothing is written there. The repository's calibration holds for the same towers."""
    ours = copied(repository, tmp_path / "model_repository")
    bare = replace(Bundle.read(ours), calibration=None)
    bare.write(ours)
    home = tmp_path / "index"
    build_index(shop / "products.parquet", ours, home, with_towers=True, progress=False)
    load = pipeline_loader(ours, lambda pipeline: None)
    folder = resolve_index(home)
    before = load(folder, None)
    with pytest.raises(InvalidRequest, match="only if the towers are calibrated"):
        before.retrieve(["red dress"], min_score="precision:0.8")

    calibration = replace(CALIBRATION, towers=bare.tower_hash)
    replace(bare, calibration=calibration).write(ours)
    assert "calibration" not in json.loads((folder / CARRIED / FILE).read_text())
    for pipeline in (load(folder, before), load(folder, None), InProcessPipeline(ours, home)):
        found = pipeline.retrieve(["red dress"], min_score="precision:0.8")
        expected = pipeline.retrieve(["red dress"], min_score=0.5)
        assert found.product_ids.tolist() == expected.product_ids.tolist()
        assert 0 < (found.product_ids >= 0).sum() < 100
