"""Towers small enough to build in a test, and a catalogue of coloured squares to train them on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.config import TowerConfig

COLOURS = {"red": (220, 30, 60), "green": (30, 200, 60), "blue": (30, 60, 220), "black": (10, 10, 10)}
THINGS = ["mug", "lamp", "chair", "shirt"]

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "embedding_dim": 12,
    "query_layers": 1,
    "title_layers": 1,
    "image_layers": 1,
    "fusion_layers": 1,
    "heads": 2,
    "query_max_tokens": 6,
    "title_max_tokens": 9,
    "image_size": 16,
    "patch_size": 8,
}


def small_towers(seed: int = 0, **changes: Any) -> Towers:
    """Return randomly initialised towers in evaluation mode, with weights large enough that every input matters."""
    torch.manual_seed(seed)
    towers = Towers(TowerConfig(**{"vocab_size": 40, **SIZES, **changes})).eval()
    with torch.no_grad():
        for name, parameter in towers.named_parameters():
            if name.endswith(("no_title", "no_image", "modality", "positions", "tokens.weight")):
                parameter.normal_(std=0.5)
            if name.endswith(("project.weight", "mlp_out.weight", "joint_norm.weight")):  # these start at or near zero
                parameter.normal_(std=0.3)
    return towers


def photo(colour: tuple[int, int, int]) -> bytes:
    """Return a PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, "PNG")
    return file.getvalue()


def write_catalog(folder: Path) -> Path:
    """Write products.parquet: every thing in every colour, ids from 100. One has no photo, another a broken photo."""
    rows = [
        {"product_id": 100 + row, "title": f"{colour} {thing}", "image": photo(COLOURS[colour])}
        for row, (colour, thing) in enumerate((c, t) for c in COLOURS for t in THINGS)
    ]
    rows[3]["image"] = None
    rows[4]["image"] = b"broken"
    pq.write_table(pa.Table.from_pylist(rows), folder / "products.parquet")
    return folder / "products.parquet"


def write_clicks(folder: Path, *extra: dict[str, Any]) -> Path:
    """Write clicks.parquet: the query "<colour> <thing>" and the query "<thing>" for every product."""
    rows = []
    for row, (colour, thing) in enumerate((c, t) for c in COLOURS for t in THINGS):
        rows.append({"query": f"{colour} {thing}", "product_id": 100 + row, "count": 4})
        rows.append({"query": thing, "product_id": 100 + row, "count": 1})
    pq.write_table(pa.Table.from_pylist([*rows, *extra]), folder / "clicks.parquet")
    return folder / "clicks.parquet"
