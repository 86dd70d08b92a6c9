"""Find out which TensorRT and which GPUs a machine has."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec

# The wheel `tensorrt` wraps the bindings in a module of its name. An image that has the libraries gets only the
# bindings, as the module `tensorrt_bindings`.
_MODULES = ("tensorrt", "tensorrt_bindings")

# CUdevice_attribute of the driver API.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server that plans have to fit.

    Attributes:
        tensorrt: version, `11.1.0.106` or its beginning; None if it is not known.
        capabilities: compute capabilities of its GPUs, `9.0`; empty if they are not known.
    """

    tensorrt: str | None = None
    capabilities: tuple[str, ...] = ()

    def runs(self, tensorrt: str) -> bool:
        """Return whether plans of a TensorRT version load here; True if the server's version is not known."""
        own = self.tensorrt.split(".") if self.tensorrt else []
        return tensorrt.split(".")[: len(own)] == own


def this_machine() -> Server:
    """Return this machine as a server."""
    return Server(tensorrt=_tensorrt_version(), capabilities=tuple(dict.fromkeys(gpu_capabilities())))


def tensorrt_module() -> str | None:
    """Return the module name of TensorRT here; None if it is not installed. The import may still fail."""
    return next((name for name in _MODULES if find_spec(name) is not None), None)


def gpu_capabilities() -> list[str]:
    """Return the compute capability of every GPU that CUDA shows, in CUDA's order. TensorRT builds for the first."""
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
            pass  # there are bindings, but no libraries
    # NVIDIA's images hold the libraries but not always the bindings, and set this variable, as 11.1.0.106+cuda13.3.
    # Only three places count: a manifest has the fourth from the bindings, which are built separately.
    found = re.match(r"\d+(\.\d+){0,2}", os.environ.get("TRT_VERSION", ""))
    return found[0] if found else None
