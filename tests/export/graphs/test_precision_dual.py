"""Published dual encoders in half precision give the same embeddings, apart from rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from shopwindow.towers.architecture.checkpoint import load_checkpoint
from shopwindow.towers.architecture.from_hugging_face import adapt
from shopwindow_export.graphs.onnx_export import PRODUCT_INPUTS, export_product_tower
from tests.towers.architecture.published import SIDE, write_published


@pytest.mark.parametrize("kind", ["clip", "chinese_clip", "siglip"])
def test_a_dual_encoder_in_fp16_computes_nearly_what_pytorch_does(tmp_path: Path, kind: str) -> None:
    adapt(write_published(kind, tmp_path / "source"), tmp_path / "checkpoint", title_weight=0.3)
    towers = load_checkpoint(tmp_path / "checkpoint").towers
    export_product_tower(towers, tmp_path / "product.onnx", "fp16")  # reads titles as the query tower reads queries
    rng = np.random.default_rng(0)
    mask = (np.arange(6) < np.array([[6], [2], [4], [1]])).astype(np.int32)
    ids = rng.integers(1, 9, mask.shape, dtype=np.int32)
    pixels = rng.integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    inputs = (ids, mask, pixels, np.array([[1, 1], [1, 0], [0, 1], [1, 1]], np.float32))
    session = ort.InferenceSession(tmp_path / "product.onnx", providers=["CPUExecutionProvider"])
    found, _ = session.run(None, dict(zip(PRODUCT_INPUTS, inputs, strict=True)))
    with torch.inference_mode():
        expected = towers.product(*map(torch.from_numpy, inputs))[0].numpy()
    assert 0 < np.abs(found - expected).max() < 1e-2
    assert (found * expected).sum(axis=1).min() > 0.9999
