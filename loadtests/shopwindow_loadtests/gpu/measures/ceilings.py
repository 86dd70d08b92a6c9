"""What the card itself reaches: matrix products and copies, the ceilings that towers are held against."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from shopwindow_loadtests.gpu.measures.timing import measure
from shopwindow_loadtests.gpu.steps import Step

# tf32 is what TensorRT and ONNX Runtime multiply float32 in unless told otherwise; PyTorch does so only when told.
TYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SIDE = 8_192
COPY_BYTES = 2 * 2**30


def steps(device: str = "cuda", *, side: int = SIDE, copy_bytes: int = COPY_BYTES) -> list[Step]:
    """A step for the matrix rate in each type and one for the copy rate."""
    return [
        *(
            Step(
                name=f"ceilings/{name}",
                needs=("gpu", "torch-cuda"),
                run=partial(matrix_rate, kind, device, side, tf32=name == "tf32"),
            )
            for name, kind in TYPES.items()
        ),
        Step(name="ceilings/copy", needs=("gpu", "torch-cuda"), run=partial(copy_rate, device, copy_bytes)),
    ]


def matrix_rate(kind: torch.dtype, device: str, side: int, *, tf32: bool = False) -> dict[str, Any]:
    """TFLOP/s of a square matrix product; `tf32` allows it for float32."""
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        timing = measure(lambda: left @ right, wait=lambda: synchronise(device), seconds=2.0, least=5)
    finally:
        torch.set_float32_matmul_precision(before)
    return {"tflops": round(2 * side**3 / timing.p50_ms / 1e9, 2), "side": side}


def copy_rate(device: str, size: int) -> dict[str, Any]:
    """TB/s of a copy within the card, each byte counted as read and as written."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timing = measure(lambda: target.copy_(source), wait=lambda: synchronise(device), seconds=1.0, least=5)
    return {"tb_per_s": round(2 * size / timing.p50_ms / 1e9, 3), "bytes": size}


def synchronise(device: str) -> None:
    """Wait for the card; nothing to wait for on a CPU."""
    if device != "cpu":
        torch.cuda.synchronize()
