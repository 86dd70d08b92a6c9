"""The TensorRT and the GPUs of a machine, as far as they can be read."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec

# The wheel `tensorrt` wraps the bindings in a module of its own name. Into an image that has the libraries only the
# bindings are installed, and those are called this.
_MODULES = ("tensorrt", "tensorrt_bindings")

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


def tensorrt_module() -> str | None:
    """What TensorRT is imported by here, None where it is not installed; that it can be imported is not sure."""
    return next((name for name in _MODULES if find_spec(name) is not None), None)


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
    if name := tensorrt_module():
        try:
            return str(importlib.import_module(name).__version__)
        except (ImportError, OSError):
            pass  # the bindings without the libraries
    # NVIDIA's images hold the libraries, not always the bindings, and say so: 11.1.0.106+cuda13.3. To three places:
    # a plan's manifest has the fourth from the bindings, which are built apart.
    found = re.match(r"\d+(\.\d+){0,2}", os.environ.get("TRT_VERSION", ""))
    return found[0] if found else None
