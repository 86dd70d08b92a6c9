"""Measures how fast the towers embed, in PyTorch, ONNX Runtime and TensorRT, by batch and precision."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow_export.graphs.half import half_copy
from shopwindow_export.graphs.onnx_export import PRODUCT_INPUTS, QUERY_INPUTS, export_product_tower, export_query_tower
from shopwindow_loadtests.gpu.measures.ceilings import synchronise
from shopwindow_loadtests.gpu.measures.timing import measure
from shopwindow_loadtests.gpu.steps import Step

PRECISIONS = ("fp32", "fp16", "bf16")
BATCHES = (1, 8, 64, 256)
TOWERS = ("query", "product")

Prepared = Callable[[int], Callable[[], Any]]  # a batch size -> one call at it
# The slowest backend comes last, so an interrupted run has the others.
BACKENDS = {
    "pytorch": ("gpu", "torch-cuda"),
    "onnxruntime": ("gpu", "onnxruntime-cuda"),
    "tensorrt": ("gpu", "torch-cuda", "tensorrt"),
    "compile": ("gpu", "torch-cuda"),
}


def steps(towers: dict[str, Callable[[], Towers]], device: str = "cuda") -> list[Step]:
    """Return a step for each backend, checkpoint, tower and precision.

    Args:
        towers: Name -> function that makes the towers. Random weights take as long as trained ones.
        device: Device on which PyTorch computes.
    """
    return [
        Step(
            name=f"towers/{name}/{tower}/{backend}/{precision}",
            needs=needs,
            run=partial(measure_tower, make, tower, backend, precision, device),
        )
        for backend, needs in BACKENDS.items()
        for name, make in towers.items()
        for tower in TOWERS
        for precision in PRECISIONS
    ]


def measure_tower(
    make: Callable[[], Towers],
    tower: str,
    backend: str,
    precision: str,
    device: str,
    *,
    batches: tuple[int, ...] = BATCHES,
    seconds: float = 0.5,
) -> dict[str, Any]:
    """Time one tower at each batch size, with texts of full length.

    Returns:
        `batches`: milliseconds and rows per second by batch. `gflop`: matrix products and convolutions of one row, to
        compare the rate with the card's ceiling. `weight_mb`: weights that every call reads.
    """
    towers = make().eval()
    found: dict[str, Any] = {
        "gflop": round(_flop(getattr(towers, tower), inputs(towers.config, tower, 1, "cpu")) / 1e9, 6),
        "weight_mb": round(_weight_bytes(getattr(towers, tower), precision) / 1e6, 3),
        "batches": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        prepare = _RUNNERS[backend](towers, tower, precision, device, Path(folder))
        for batch in batches:
            timing = measure(prepare(batch), wait=lambda: synchronise(device), seconds=seconds, least=10)
            found["batches"][str(batch)] = {**asdict(timing), "rows_per_s": round(1e3 * batch / timing.p50_ms, 1)}
    return found


def inputs(config: TowerConfig, tower: str, batch: int, device: str) -> tuple[torch.Tensor, ...]:
    """Return a batch of full-length inputs of a tower."""
    length = config.query_max_tokens if tower == "query" else config.title_max_tokens
    ids = torch.randint(1, config.vocab_size, (batch, length), dtype=torch.int32, device=device)
    mask = torch.ones_like(ids)
    if tower == "query":
        return ids, mask
    size = config.image_size
    pixels = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=device)
    return ids, mask, pixels, torch.ones(batch, 2, device=device)


def _eager(towers: Towers, tower: str, precision: str, device: str, _: Path) -> Prepared:
    module = _module(towers, tower, precision).to(device)
    return lambda batch: _without_gradients(module, inputs(towers.config, tower, batch, device))


def _compiled(towers: Towers, tower: str, precision: str, device: str, _: Path) -> Prepared:
    # "reduce-overhead" replays CUDA graphs. Launches take most of the time of a small tower.
    module: Any = torch.compile(_module(towers, tower, precision).to(device), mode="reduce-overhead", dynamic=False)
    return lambda batch: _without_gradients(module, inputs(towers.config, tower, batch, device))


def _onnxruntime(towers: Towers, tower: str, precision: str, device: str, folder: Path) -> Prepared:
    import onnxruntime

    provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
    session = onnxruntime.InferenceSession(str(_graph(towers, tower, precision, folder)), providers=[provider])
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"ONNX Runtime fell back to {session.get_providers()[0]}")

    def prepare(batch: int) -> Callable[[], Any]:
        feed = {name: np.asarray(tensor) for name, tensor in _feed(towers.config, tower, batch, "cpu").items()}
        return lambda: session.run(None, feed)  # from host to host, as in a Triton step

    return prepare


def _tensorrt(towers: Towers, tower: str, precision: str, device: str, folder: Path) -> Prepared:
    from shopwindow_loadtests.gpu.measures.tensorrt_engine import engine_call

    graph = _graph(towers, tower, precision, folder)
    return lambda batch: engine_call(graph, _feed(towers.config, tower, batch, device))


def _feed(config: TowerConfig, tower: str, batch: int, device: str) -> dict[str, torch.Tensor]:
    names = QUERY_INPUTS if tower == "query" else PRODUCT_INPUTS
    return dict(zip(names, inputs(config, tower, batch, device), strict=True))


_RUNNERS = {"pytorch": _eager, "compile": _compiled, "onnxruntime": _onnxruntime, "tensorrt": _tensorrt}


def _module(towers: Towers, tower: str, precision: str) -> nn.Module:
    module: nn.Module = getattr(towers, tower)
    return module if precision == "fp32" else half_copy(module, precision)


def _graph(towers: Towers, tower: str, precision: str, folder: Path) -> Path:
    file = folder / f"{tower}.onnx"
    export = export_query_tower if tower == "query" else export_product_tower
    export(towers, file, precision)
    return file


def _without_gradients(module: Any, given: tuple[torch.Tensor, ...]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.inference_mode():
            return module(*given)

    return call


def _flop(module: nn.Module, given: tuple[torch.Tensor, ...]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(*given)
    return float(counter.get_total_flops())


def _weight_bytes(module: nn.Module, precision: str) -> int:
    # A call reads only a few rows of the word table.
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    count = sum(tensor.numel() for tensor in module.parameters() if id(tensor) not in tables)
    return count * (4 if precision == "fp32" else 2)
