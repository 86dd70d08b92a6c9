"""Measures the card itself: its rates of matrix products and copies. The towers are compared with them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from shopwindow_loadtests.gpu.measures.timing import measure
from shopwindow_loadtests.gpu.steps import Step

# TensorRT and ONNX Runtime multiply float32 in TF32 unless told otherwise. PyTorch does so only when told.
TYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SIDE = 8_192
COPY_BYTES = 2 * 2**30
SECONDS = 2.0  # of each measurement


def steps(device: str = "cuda") -> list[Step]:
    """Return a step for the matrix rate in each type and one for the copy rate."""
    return [
        *(
            Step(
                name=f"ceilings/{name}",
                needs=("gpu", "torch-cuda"),
                run=partial(matrix_rate, kind, device, SIDE, tf32=name == "tf32"),
            )
            for name, kind in TYPES.items()
        ),
        Step(name="ceilings/copy", needs=("gpu", "torch-cuda"), run=partial(copy_rate, device, COPY_BYTES)),
    ]


def matrix_rate(kind: torch.dtype, device: str, side: int, *, tf32: bool = False) -> dict[str, Any]:
    """Return the TFLOP/s of a square matrix product. `tf32` allows TF32 for float32."""
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        timing = measure(lambda: left @ right, wait=lambda: synchronise(device), seconds=SECONDS, least=5)
    finally:
        torch.set_float32_matmul_precision(before)
    return {"tflops": round(2 * side**3 / timing.p50_ms / 1e9, 2), "side": side}


def copy_rate(device: str, size: int) -> dict[str, Any]:
    """Return the TB/s of a copy within the card. Each byte counts twice, as read and as written."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timing = measure(lambda: target.copy_(source), wait=lambda: synchronise(device), seconds=SECONDS / 2, least=5)
    return {"tb_per_s": round(2 * size / timing.p50_ms / 1e9, 3), "bytes": size}


def synchronise(device: str) -> None:
    """Wait for the card. On a CPU there is nothing to wait for."""
    if device != "cpu":
        torch.cuda.synchronize()
