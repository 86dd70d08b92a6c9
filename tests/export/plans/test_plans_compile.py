"""Both towers compile in every precision, with TensorRT for RTX, which needs no GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.checkpoint import load_checkpoint
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow_export.graphs.onnx_export import PRODUCT_INPUTS, QUERY_INPUTS, export_product_tower, export_query_tower
from shopwindow_export.graphs.precisions import PRECISIONS
from shopwindow_export.plans import build_plan, load_toolkit, read_profile
from shopwindow_export.plans.profile import read_config
from shopwindow_export.repository.rendering import render_models

ROOT = Path(__file__).parents[3]


def demo() -> Towers:
    towers = load_checkpoint(ROOT / "shopwindow" / "demo" / "checkpoint").towers
    assert isinstance(towers, Towers)
    return towers


def small() -> Towers:
    """Towers of the small config, untrained."""
    values = json.loads((ROOT / "shopwindow" / "towers" / "configs" / "small.json").read_text())
    torch.manual_seed(0)
    return Towers(TowerConfig(vocab_size=values["vocab_size"], **values["towers"])).eval()


def texts(towers: Towers, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.random.default_rng(0).integers(0, towers.config.vocab_size, (8, tokens), dtype=np.int32)
    return ids, np.ones_like(ids)


def queries(towers: Towers) -> dict[str, np.ndarray]:
    return dict(zip(QUERY_INPUTS, texts(towers, towers.config.query_max_tokens), strict=True))


def products(towers: Towers) -> dict[str, np.ndarray]:
    size = towers.config.image_size
    pixels = np.random.default_rng(1).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    values = (*texts(towers, towers.config.title_max_tokens), pixels, np.ones((8, 2), np.float32))
    return dict(zip(PRODUCT_INPUTS, values, strict=True))


@pytest.mark.parametrize(
    ("make", "tower", "precision"),
    [
        *((small, tower, precision) for tower in ("query_tower", "product_tower") for precision in PRECISIONS),
        (demo, "query_tower", "fp16"),
        (demo, "product_tower", "int8"),
    ],
)
def test_a_tower_compiles(make: Callable[[], Towers], tower: str, precision: str, tmp_path: Path) -> None:
    towers = make()
    config = towers.config
    bundle = Bundle(
        tower_hash="0" * 64,
        embedding_dim=config.embedding_dim,
        query_max_tokens=config.query_max_tokens,
        title_max_tokens=config.title_max_tokens,
        image_size=config.image_size,
        precision=precision,
    )
    render_models(tmp_path, bundle, cpu_instances=1)
    graph = tmp_path / tower / "1" / "model.onnx"
    if tower == "query_tower":
        export_query_tower(towers, graph, precision, [queries(towers)])
    else:
        export_product_tower(towers, graph, precision, [products(towers)])
    profile = read_profile(read_config(tmp_path / tower / "config.pbtxt"))
    assert build_plan(load_toolkit("tensorrt_rtx"), graph, profile, progress=False)
