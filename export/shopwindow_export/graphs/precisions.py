"""The precisions of graphs."""

from __future__ import annotations

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")

HALVES = ("fp16", "bf16")
"""Half precision with float32 islands; see `shopwindow_export.graphs.half`."""

QUANTISED = {"int8": "fp32", "fp8": "fp16"}
"""Precision of 8-bit matrix products (see `shopwindow_export.graphs.qdq`) -> precision of the graph around them. Around
int8 it is fp32, because int8 also runs on CPUs, which are slow in half precision."""

RUNS_ON_CPU = ("fp32", "fp16", "int8")
"""Precisions for which ONNX Runtime has CPU kernels. The others need a GPU."""
