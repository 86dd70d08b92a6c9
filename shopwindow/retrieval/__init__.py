"""Retrieval as a plain library: text, photos and index folders in, product ids and scores out. No torch, no Triton."""

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
