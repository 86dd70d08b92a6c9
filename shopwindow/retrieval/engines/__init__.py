"""Search engines: each finds the k rows nearest to given vectors, behind one interface."""

from shopwindow.retrieval.engines.choosing import open_engine
from shopwindow.retrieval.engines.faiss_cpu import FaissCpuEngine
from shopwindow.retrieval.engines.faiss_gpu import FaissGpuEngine
from shopwindow.retrieval.engines.interface import SearchEngine
from shopwindow.retrieval.engines.options import EngineOptions, MilvusOptions, Spread, Where

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
