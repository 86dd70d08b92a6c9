"""CPU indexes behind the `Gpus` interface that behave like FAISS on a GPU where that breaks naive code.

They silently ignore selectors, raise if k is above the limit, keep flat vectors in fp16, and use FAISS's shards or
replicas for several GPUs. The computing is real FAISS; only the processor differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import faiss
import numpy as np

from shopwindow.retrieval.engines.gpu_devices import search_parameters
from shopwindow.retrieval.engines.gpu_index_forms import CLASSIC_SELECTION, Form, GpuPlan
from shopwindow.retrieval.engines.options import EngineOptions, Spread


class ClassicIndex:
    """An index that refuses to select more than a classic GPU kernel can. It ignores selectors unless it `obeys`."""

    def __init__(self, index: faiss.Index, *, obeys: bool) -> None:
        self.index = index
        self.obeys = obeys

    ntotal = property(lambda self: self.index.ntotal)
    d = property(lambda self: self.index.d)

    def add(self, vectors: np.ndarray) -> None:
        self.index.add(vectors)

    def search(self, queries: np.ndarray, k: int, params: Any = None) -> tuple[np.ndarray, np.ndarray]:
        if k > CLASSIC_SELECTION:
            raise RuntimeError(f"GPU index only supports min/max-K selection up to {CLASSIC_SELECTION} (requested {k})")
        if params is not None and not self.obeys:
            params.sel = None
        return self.index.search(queries, k, params=params)


class Graph(ClassicIndex):
    """A graph index that `train` builds, like CAGRA."""

    def train(self, vectors: np.ndarray) -> None:
        self.index.add(vectors)


@dataclass
class StandIn:
    """The GPUs of a machine; see the module. `obeys` says whether indexes obey selectors."""

    count: int = 1
    cuvs: bool = False
    obeys: bool = False
    free: int | None = 2**40
    kind: tuple[int, int] | None = (9, 0)
    placed: list[GpuPlan] = field(default_factory=list)

    def capability(self, device: int) -> tuple[int, int] | None:
        assert device < self.count
        return self.kind

    def free_bytes(self, device: int) -> int | None:
        assert device < self.count
        return self.free

    def place(self, index: faiss.Index, plan: GpuPlan, options: EngineOptions) -> ClassicIndex:
        self.placed.append(plan)
        parts = [self._copy(index, plan) for _ in options.devices]
        if len(parts) == 1:
            return ClassicIndex(parts[0], obeys=self.obeys)
        if options.spread is Spread.REPLICAS:
            whole = faiss.IndexReplicas(index.d, True)
            for part in parts:
                whole.add_replica(part)
        else:
            whole = faiss.IndexShards(index.d, True, plan.form is Form.FLAT16)
            for number, part in enumerate(parts):
                if plan.form is not Form.FLAT16:
                    part.reset()
                    index.copy_subset_to(part, faiss.InvertedLists.SUBSET_TYPE_ID_MOD, len(parts), number)
                whole.add_shard(part)
        whole.own_indices = True
        for part in parts:
            part.this.disown()
        return ClassicIndex(whole, obeys=self.obeys)

    def _copy(self, index: faiss.Index, plan: GpuPlan) -> faiss.Index:
        if plan.form is not Form.FLAT16:
            return faiss.clone_index(index)
        halves = faiss.IndexScalarQuantizer(index.d, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        halves.is_trained = True
        return halves

    def graph(self, dim: int, options: EngineOptions) -> Graph:
        return Graph(faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT), obeys=self.obeys)

    def set_lists(self, index: ClassicIndex, lists: int) -> None:
        faiss.ParameterSpace().set_index_parameter(index.index, "nprobe", lists)

    def parameters(self, form: Form, breadth: int, selector: Any) -> Any:
        if form is Form.CAGRA:
            return faiss.SearchParametersHNSW(sel=selector, efSearch=breadth)
        return search_parameters(form, breadth, selector)
