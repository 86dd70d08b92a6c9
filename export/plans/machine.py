"""The TensorRT and the GPUs of a machine, as far as they can be read."""

from __future__ import annotations

import ctypes
import importlib
import os
from dataclasses import dataclass
from importlib.util import find_spec

# CUdevice_attribute of the driver API.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True, kw_only=True)
class Server:
    """What plans have to fit.

    Attributes:
        tensorrt: version, `11.1.0.106` or its beginning; None when it is not known.
        capabilities: compute capabilities of its GPUs, `9.0`; empty when they are not known.
    """

    tensorrt: str | None = None
    capabilities: tuple[str, ...] = ()

    def runs(self, tensorrt: str) -> bool:
        """Whether plans of a TensorRT version load here; a version that is not known is not held against a plan."""
        wanted = self.tensorrt.split(".") if self.tensorrt else []
        return tensorrt.split(".")[: len(wanted)] == wanted


def this_machine() -> Server:
    """The server that this machine would be."""
    return Server(tensorrt=_tensorrt_version(), capabilities=tuple(dict.fromkeys(gpu_capabilities())))


def gpu_capabilities() -> list[str]:
    """Compute capability of every GPU that CUDA shows, in CUDA's order; TensorRT builds for the first."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    found = []
    for device in range(count.value):
        major, minor = ctypes.c_int(), ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device):
            continue
        driver.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
        found.append(f"{major.value}.{minor.value}")
    return found


def _tensorrt_version() -> str | None:
    if find_spec("tensorrt") is not None:
        try:
            return str(importlib.import_module("tensorrt").__version__)
        except (ImportError, OSError):
            pass  # the bindings without the libraries
    # NVIDIA's images hold the libraries, not always the bindings, and say so: 11.1.0.106+cuda13.3
    return os.environ.get("TRT_VERSION", "").partition("+")[0] or None
