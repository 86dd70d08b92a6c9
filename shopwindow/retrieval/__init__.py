"""Retrieval as a plain library: text, photos and index folders in, product ids and scores out. No torch, no Triton."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shopwindow.retrieval.errors import IndexUnfit, InvalidRequest, RetrievalError
    from shopwindow.retrieval.opening import open_index
    from shopwindow.retrieval.pipeline import InProcessPipeline
    from shopwindow.retrieval.request.parameters import RequestParameters, parse_parameters
    from shopwindow.retrieval.search.exact import SearchResult
    from shopwindow.retrieval.search.product_index import ProductIndex

__all__ = [
    "InProcessPipeline",
    "IndexUnfit",
    "InvalidRequest",
    "ProductIndex",
    "RequestParameters",
    "RetrievalError",
    "SearchResult",
    "open_index",
    "parse_parameters",
]

_MODULES = {
    "InProcessPipeline": "pipeline",
    "IndexUnfit": "errors",
    "InvalidRequest": "errors",
    "ProductIndex": "search.product_index",
    "RequestParameters": "request.parameters",
    "RetrievalError": "errors",
    "SearchResult": "search.exact",
    "open_index": "opening",
    "parse_parameters": "request.parameters",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: whoever reads a catalogue needs neither FAISS nor ONNX Runtime."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
