"""Measures ranking parity with float32: towers in PyTorch on the GPU, as TensorRT engines, and exported for a CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shopwindow.retrieval.embedding.product_inputs import ProductBatch, ProductPreprocessor
from shopwindow.retrieval.embedding.text import TextEncoder, clean_queries
from shopwindow.towers.architecture.checkpoint import Checkpoint, load_checkpoint
from shopwindow_export.graphs.half import half_copy
from shopwindow_export.graphs.onnx_export import (
    PRODUCT_INPUTS,
    PRODUCT_OUTPUTS,
    QUERY_INPUTS,
    QUERY_OUTPUTS,
    export_product_tower,
    export_query_tower,
)
from shopwindow_export.graphs.precisions import QUANTISED
from shopwindow_export.parity.measure import measure_parity
from shopwindow_export.parity.sample import ParitySample, read_sample
from shopwindow_export.parity.scale_inputs import product_feeds, query_feeds
from shopwindow_export.parity.verdict import ParityReport
from shopwindow_export.repository.run import export_repository
from shopwindow_loadtests.gpu.steps import Step

ON_GPU = ("fp32", "fp16", "bf16")
EXPORTED = ("fp32", "fp16", "int8")
# TensorRT multiplies fp32 in TF32. That keeps as many digits as fp16, so it has the budget of fp16.
ENGINES = {"fp32": "fp16", "fp16": "fp16", "bf16": "bf16", "int8": "int8"}
ROWS = 256
PRODUCTS = 3_000  # at most


def steps(checkpoint: Path, catalog: Path) -> list[Step]:
    """Return the steps: parity on the GPU in fp32, fp16 and bf16, parity of TensorRT engines, and the export's gate.

    Args:
        checkpoint: Folder of the checkpoint.
        catalog: Its products and titles are the sample.
    """
    return [
        *(
            Step(
                name=f"parity/pytorch/{precision}",
                needs=("gpu", "torch-cuda"),
                run=partial(on_gpu, checkpoint, catalog, PRODUCTS, precision, "cuda"),
            )
            for precision in ON_GPU
        ),
        *(
            Step(
                name=f"parity/tensorrt/{precision}",
                needs=("gpu", "torch-cuda", "tensorrt"),
                run=partial(as_engines, checkpoint, catalog, PRODUCTS, precision),
            )
            for precision in ENGINES
        ),
        *(
            Step(
                name=f"parity/export/{precision}",
                needs=(),
                run=partial(exported, checkpoint, catalog, PRODUCTS, precision),
            )
            for precision in EXPORTED
        ),
    ]


def on_gpu(checkpoint: Path, catalog: Path, products: int, precision: str, device: str) -> dict[str, Any]:
    """Measure towers in one precision on the GPU, and judge them by the export's budget for it.

    Raises:
        AssertionError: Parity is below the budget.
    """
    loaded = load_checkpoint(checkpoint)
    sample = _sample(loaded, catalog, products)
    return _judged(measure_parity(loaded, _OnDevice(checkpoint, precision, device), sample, precision))


def as_engines(checkpoint: Path, catalog: Path, products: int, precision: str) -> dict[str, Any]:
    """Measure the exported graphs as TensorRT engines, which the GPU profile serves.

    Raises:
        AssertionError: Parity is below the budget.
        PlanError: TensorRT refused a graph.
    """
    loaded = load_checkpoint(checkpoint)
    sample = _sample(loaded, catalog, products)
    with tempfile.TemporaryDirectory() as folder:
        engines = _Engines(loaded, sample, precision, Path(folder))
        return _judged(measure_parity(loaded, engines, sample, ENGINES[precision]))


def exported(checkpoint: Path, catalog: Path, products: int, precision: str) -> dict[str, Any]:
    """Run the export with its gate. It fails by itself below its budget."""
    with tempfile.TemporaryDirectory() as folder:
        report = export_repository(
            checkpoint, Path(folder) / "model_repository", catalog, precision=precision, sample_size=products
        )
    assert report is not None, "these precisions run on a CPU"
    return _figures(report)


def _sample(checkpoint: Checkpoint, catalog: Path, products: int) -> ParitySample:
    config = checkpoint.towers.config
    titles = TextEncoder.read(checkpoint.folder / "tokenizer.json", config.title_max_tokens)
    return read_sample(catalog, ProductPreprocessor(titles, config.image_size), products)


def _judged(report: ParityReport) -> dict[str, Any]:
    if not report.passed:
        raise AssertionError("; ".join(report.shortfalls))
    return _figures(report)


def _figures(report: ParityReport) -> dict[str, Any]:
    return {
        "products": report.products,
        "queries": report.queries,
        "overlap@10": round(report.overlap_at_10, 5),
        "largest drift of a score": float(report.score_drift_max),
    }


class _OnDevice:
    """Towers in one precision on one device; see `shopwindow_export.parity.measure.Embedder`."""

    def __init__(self, checkpoint: Path, precision: str, device: str) -> None:
        towers = load_checkpoint(checkpoint).towers
        self._device = device
        self._encoder = TextEncoder.read(checkpoint / "tokenizer.json", towers.config.query_max_tokens)
        halves = (
            part if precision == "fp32" else half_copy(part, precision) for part in (towers.query, towers.product)
        )
        self._query, self._product = (part.to(device).eval() for part in halves)

    def embed_query(self, queries: Sequence[str], /) -> np.ndarray:
        """Return query embeddings."""
        ids, mask = self._encoder.encode(clean_queries(queries))
        [embeddings] = self._run(self._query, [ids, mask])
        return embeddings

    def embed_prepared(self, batch: ProductBatch, /) -> tuple[np.ndarray, np.ndarray]:
        """Return product embeddings and modality weights."""
        embeddings, weights = self._run(self._product, list(batch.tensors().values()))
        return embeddings, weights

    def _run(self, tower: torch.nn.Module, arrays: list[np.ndarray]) -> list[np.ndarray]:
        parts: list[tuple[torch.Tensor, ...]] = []
        with torch.inference_mode():
            for start in range(0, len(arrays[0]), ROWS):
                given = [torch.from_numpy(array[start : start + ROWS]).to(self._device) for array in arrays]
                made = tower(*given)
                parts.append(made if isinstance(made, tuple) else (made,))
        return [torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True)]


class _Engines:
    """Towers as TensorRT engines; see `shopwindow_export.parity.measure.Embedder`."""

    def __init__(self, checkpoint: Checkpoint, sample: ParitySample, precision: str, folder: Path) -> None:
        from shopwindow_loadtests.gpu.measures.tensorrt_engine import EngineTower

        towers = checkpoint.towers
        config = towers.config
        self._encoder = TextEncoder.read(checkpoint.folder / "tokenizer.json", config.query_max_tokens)
        quantised = precision in QUANTISED
        query, product = folder / "query.onnx", folder / "product.onnx"
        export_query_tower(towers, query, precision, query_feeds(sample, self._encoder) if quantised else ())
        export_product_tower(towers, product, precision, product_feeds(sample) if quantised else ())
        text, title = (config.query_max_tokens,), (config.title_max_tokens,)
        photo = (config.image_size, config.image_size, 3)
        self._query = EngineTower(query, QUERY_INPUTS, (text, text), (torch.int32, torch.int32), ROWS)
        kinds = (torch.int32, torch.int32, torch.uint8, torch.float32)
        self._product = EngineTower(product, PRODUCT_INPUTS, (title, title, photo, (2,)), kinds, ROWS)

    def embed_query(self, queries: Sequence[str], /) -> np.ndarray:
        """Return query embeddings."""
        [embeddings] = self._query(self._encoder.encode(clean_queries(queries)), QUERY_OUTPUTS)
        return embeddings

    def embed_prepared(self, batch: ProductBatch, /) -> tuple[np.ndarray, np.ndarray]:
        """Return product embeddings and modality weights."""
        tensors = batch.tensors()
        embeddings, weights = self._product([tensors[name] for name in PRODUCT_INPUTS], PRODUCT_OUTPUTS)
        return embeddings, weights
