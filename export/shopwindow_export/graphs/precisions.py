"""Which precisions there are."""

from __future__ import annotations

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")

HALVES = ("fp16", "bf16")
"""Half precision with float32 islands; see `shopwindow_export.graphs.half`."""

QUANTISED = {"int8": "fp32", "fp8": "fp16"}
"""Matrix products of 8 bits (see `graphs.qdq`) -> precision of the graph around them. int8 serves the CPU
too, which is slow in half precision."""

RUNS_ON_CPU = ("fp32", "fp16", "int8")
"""What ONNX Runtime has kernels for on a CPU; the others need a GPU."""
