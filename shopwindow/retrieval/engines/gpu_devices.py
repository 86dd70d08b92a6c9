"""The GPUs that FAISS sees: how many there are, how much memory is free, and how to put an index there."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import faiss
import numpy as np

from shopwindow.retrieval.engines.gpu_index_forms import CAGRA_BUILD_DEGREE, CAGRA_DEGREE, Form, GpuPlan
from shopwindow.retrieval.engines.options import EngineOptions, Spread

# Query batches have a few kilobytes. By default FAISS would pin 256 MiB of main memory for them.
_PINNED_BYTES = 16 * 2**20
_MAJOR, _MINOR = 75, 76  # cudaDevAttrComputeCapability...
_CUDA_RUNTIMES = (None, "libcudart.so.13", "libcudart.so.12")  # None: the one that this process has loaded already


class Gpus(Protocol):
    """What the GPU engine needs of the machine. Tests implement it with CPU indexes."""

    @property
    def count(self) -> int:
        """Number of GPUs that FAISS can use; 0 without a GPU build or a driver."""
        ...

    @property
    def cuvs(self) -> bool:
        """Whether this FAISS is built with cuVS."""
        ...

    def capability(self, device: int) -> tuple[int, int] | None:
        """Return the compute capability of a GPU; None if it cannot be read."""
        ...

    def free_bytes(self, device: int) -> int | None:
        """Return the free bytes of a GPU; None if they cannot be read."""
        ...

    def place(self, index: faiss.Index, plan: GpuPlan, options: EngineOptions) -> Any:
        """Copy a CPU index to the GPUs of `options`. The index may be empty."""
        ...

    def graph(self, dim: int, options: EngineOptions) -> Any:
        """Return an empty CAGRA index."""
        ...

    def set_lists(self, index: Any, lists: int) -> None:
        """Set how many inverted lists the next searches visit."""
        ...

    def parameters(self, form: Form, breadth: int, selector: Any) -> Any:
        """Return search parameters. The selector may be None."""
        ...


class FaissGpus:
    """The real GPUs. All indexes placed by one object share scratch memory, so only one thread may search them."""

    def __init__(self) -> None:
        # (GPU, bytes) -> resources. Kept here because some builds of FAISS free them while an index still needs them.
        self._resources: dict[tuple[int, int], Any] = {}

    @property
    def count(self) -> int:
        """See `Gpus.count`."""
        return int(faiss.get_num_gpus())

    @property
    def cuvs(self) -> bool:
        """See `Gpus.cuvs`."""
        return hasattr(faiss, "GpuClonerOptions") and bool(faiss.GpuClonerOptions().use_cuvs)

    def capability(self, device: int) -> tuple[int, int] | None:
        """See `Gpus.capability`."""
        for name in _CUDA_RUNTIMES:
            try:
                ask = ctypes.CDLL(name).cudaDeviceGetAttribute
            except (OSError, AttributeError):
                continue
            major, minor = ctypes.c_int(), ctypes.c_int()
            if not ask(ctypes.byref(major), _MAJOR, device) and not ask(ctypes.byref(minor), _MINOR, device):
                return major.value, minor.value
        return None

    def free_bytes(self, device: int) -> int | None:
        """See `Gpus.free_bytes`."""
        for name in _CUDA_RUNTIMES:
            try:
                runtime = ctypes.CDLL(name)
                ask, get, put = runtime.cudaMemGetInfo, runtime.cudaGetDevice, runtime.cudaSetDevice
            except (OSError, AttributeError):
                continue
            before, free, total = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_size_t()
            if get(ctypes.byref(before)) or put(device):
                continue
            failed = ask(ctypes.byref(free), ctypes.byref(total))
            put(before.value)
            if not failed:
                return free.value
        return None

    def place(self, index: faiss.Index, plan: GpuPlan, options: EngineOptions) -> Any:
        """See `Gpus.place`."""
        cloning = faiss.GpuMultipleClonerOptions()
        cloning.useFloat16 = plan.form is Form.FLAT16
        cloning.use_cuvs = plan.cuvs
        cloning.shard = options.spread is Spread.SHARDS
        return faiss.index_cpu_to_gpu_multiple_py(self._scratch(options), index, cloning, list(options.devices))

    def graph(self, dim: int, options: EngineOptions) -> Any:
        """See `Gpus.graph`."""
        config = faiss.GpuIndexCagraConfig()
        config.device = options.devices[0]
        config.graph_degree = CAGRA_DEGREE
        config.intermediate_graph_degree = CAGRA_BUILD_DEGREE
        return faiss.GpuIndexCagra(self._scratch(options)[0], dim, faiss.METRIC_INNER_PRODUCT, config)

    def set_lists(self, index: Any, lists: int) -> None:
        """See `Gpus.set_lists`. It sets every shard and replica."""
        faiss.GpuParameterSpace().set_index_parameter(index, "nprobe", lists)

    def parameters(self, form: Form, breadth: int, selector: Any) -> Any:
        """See `Gpus.parameters`."""
        if form is Form.CAGRA:
            return faiss.SearchParametersCagra(sel=selector, itopk_size=breadth)
        return search_parameters(form, breadth, selector)

    def _scratch(self, options: EngineOptions) -> list[Any]:
        return [self._scratch_on(device, options.temp_bytes) for device in options.devices]

    def _scratch_on(self, device: int, size: int) -> Any:
        if (device, size) not in self._resources:
            one = faiss.StandardGpuResources()
            one.setTempMemory(size)
            one.setPinnedMemory(_PINNED_BYTES)
            self._resources[device, size] = one
        return self._resources[device, size]


def search_parameters(form: Form, breadth: int, selector: Any) -> Any:
    """Return the search parameters of flat and inverted indexes, the same on CPU and GPU."""
    if form is Form.FLAT16:
        return faiss.SearchParameters(sel=selector)
    return faiss.SearchParametersIVF(sel=selector, nprobe=breadth)


def fill(gpus: Gpus, built: faiss.Index, vectors: np.ndarray, plan: GpuPlan, options: EngineOptions) -> Any:
    """Put an index on the GPUs.

    Args:
        gpus: the GPUs of the machine.
        built: a filled inverted index, or an empty flat index.
        vectors: (rows, dim) float32, from which a flat index or a graph is made.
        plan: what goes on each GPU.
        options: which GPUs.
    """
    if plan.form is Form.CAGRA:
        index = gpus.graph(vectors.shape[1], options)
        index.train(np.ascontiguousarray(vectors, np.float32))
        return index
    index = gpus.place(built, plan, options)
    if plan.form is Form.FLAT16:
        # Add vectors to an empty index: cloning a filled one converts all of it to fp16 at once, which needs four times
        # the memory. Add them in one call, because shards number their rows by their place in a call.
        index.add(np.ascontiguousarray(vectors, np.float32))
    return index
