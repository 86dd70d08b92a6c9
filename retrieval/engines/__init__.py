"""Search engines: each answers "the k rows nearest to these vectors" behind one interface."""

from retrieval.engines.base import SearchEngine
from retrieval.engines.faiss_cpu import FaissCpuEngine
from retrieval.engines.faiss_gpu import FaissGpuEngine
from retrieval.engines.opening import open_engine
from retrieval.engines.options import EngineOptions, MilvusOptions, Spread, Where

__all__ = [
    "EngineOptions",
    "FaissCpuEngine",
    "FaissGpuEngine",
    "MilvusOptions",
    "SearchEngine",
    "Spread",
    "Where",
    "open_engine",
]
