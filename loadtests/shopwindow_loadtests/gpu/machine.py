"""Facts about this machine for the report, and the abilities that it lacks for some steps."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
from datetime import UTC, datetime
from typing import Any

ABILITIES = ("gpu", "torch-cuda", "faiss-gpu", "onnxruntime-cuda", "tensorrt", "triton")


def gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs with driver and memory, from nvidia-smi; empty without it."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def missing_abilities() -> dict[str, str]:
    """Return the abilities of ABILITIES that this machine lacks, each with the reason."""
    found: dict[str, str] = {}
    if not gpus():
        found["gpu"] = "no NVIDIA GPU (nvidia-smi finds none)"
    for name, probe in (
        ("torch-cuda", _torch),
        ("faiss-gpu", _faiss),
        ("onnxruntime-cuda", _onnxruntime),
        ("tensorrt", _tensorrt),
        ("triton", _triton),
    ):
        try:
            why = probe()
        except Exception as error:  # without its CUDA libraries, a library may raise anything on import
            why = f"{name} cannot be used ({type(error).__name__}: {error})"
        if why:
            found[name] = why
    return found


def facts() -> dict[str, Any]:
    """Return the machine and the library versions, to print beside the figures."""
    versions = {}
    for name in ("torch", "faiss", "onnxruntime", "tensorrt", "numpy", "tritonclient"):
        try:
            module = _tensorrt_module() if name == "tensorrt" else importlib.import_module(name)
            versions[name] = str(getattr(module, "__version__", "?"))
        except Exception:  # absent, or unusable without a driver
            versions[name] = "absent"
    return {
        "gpus": gpus(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": versions,
        "measured": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def _torch() -> str:
    import torch

    return "" if torch.cuda.is_available() else f"PyTorch {torch.__version__} sees no GPU"


def _faiss() -> str:
    import faiss

    count = faiss.get_num_gpus()
    return "" if count else f"FAISS {faiss.__version__} sees no GPU ({faiss.get_compile_options().strip()})"


def _onnxruntime() -> str:
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    return "" if "CUDAExecutionProvider" in providers else f"ONNX Runtime has only {', '.join(providers)}"


def _tensorrt() -> str:
    _tensorrt_module()
    return ""


def _tensorrt_module() -> Any:
    from shopwindow_export.plans.machine import tensorrt_module  # needs libraries that this machine may lack

    return importlib.import_module(tensorrt_module() or "tensorrt")


def _triton() -> str:
    from shopwindow.server import ServingError, find_tritonserver

    try:
        find_tritonserver()
    except ServingError as error:
        return str(error)
    return ""
