"""The material to measure: towers, and a demo shop that is drawn, exported and indexed if it is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from shopwindow.base.default_places import TOWER_CONFIGS
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.checkpoint import load_checkpoint
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow_loadtests.gpu.steps import Step

BASE = TOWER_CONFIGS / "base.json"


def towers_to_time(checkpoint: Path) -> dict[str, Callable[[], Towers]]:
    """Return name -> function that makes the towers: the demo's, and those of the base config, which suit a GPU."""
    return {"demo": partial(_load, checkpoint), "base": partial(random_towers, BASE)}


def random_towers(config: Path) -> Towers:
    """Return towers of a training config with random weights. They take as long as trained ones."""
    content = json.loads(config.read_text())
    return Towers(TowerConfig(vocab_size=content["vocab_size"], **content["towers"])).eval()


def _load(checkpoint: Path) -> Towers:
    towers = load_checkpoint(checkpoint).towers
    if not isinstance(towers, Towers):
        raise ValueError(
            f"checkpoint: {checkpoint} holds adapted towers; give a checkpoint of this project's own towers"
        )
    return towers


def make_shop(folder: Path) -> None:
    """Draw the demo shop if it is missing."""
    from shopwindow.demo_shop import generate

    if not (folder / "products.parquet").is_file():
        generate(folder, progress=False)


def serving_steps(checkpoint: Path, catalog: Path, repository: Path, index: Path) -> list[Step]:
    """Return the steps that export, build TensorRT plans and index, each only if that is not done yet."""
    return [
        Step(name="retrieve/export", needs=(), always=True, run=partial(_export, checkpoint, catalog, repository)),
        Step(name="retrieve/plans", needs=("gpu", "tensorrt"), always=True, run=partial(_plans, repository)),
        Step(name="retrieve/index", needs=(), always=True, run=partial(_index, catalog, repository, index)),
    ]


def _export(checkpoint: Path, catalog: Path, repository: Path) -> dict[str, Any]:
    from shopwindow_export.repository.run import export_repository

    if not (repository / "bundle.json").is_file():
        export_repository(checkpoint, repository, catalog)
    return {}


def _plans(repository: Path) -> dict[str, Any]:
    from shopwindow_export.plans import build_plans

    return {
        result.plan.parent.parent.name: "fits, kept" if result.reused else "built" for result in build_plans(repository)
    }


def _index(catalog: Path, repository: Path, index: Path) -> dict[str, Any]:
    from shopwindow.indexing.full_build.run import build_index

    if not (index / "CURRENT").is_file():
        build_index(catalog, repository, index, progress=False)
    return {}


def read_queries(folder: Path) -> list[str]:
    """Return the demo shop's queries."""
    queries: list[str] = pq.read_table(folder / "queries.parquet")["text"].to_pylist()
    return queries
