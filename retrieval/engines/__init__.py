"""Search engines: each answers "the k rows nearest to these vectors" behind one interface."""

from retrieval.engines.base import SearchEngine
from retrieval.engines.faiss_cpu import FaissCpuEngine

__all__ = ["FaissCpuEngine", "SearchEngine"]
