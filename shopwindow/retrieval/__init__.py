"""Retrieval as a plain library: text, photos and index folders in, product ids and scores out. No torch, no Triton."""

from shopwindow.retrieval.errors import IndexUnfit, InvalidRequest, RetrievalError
from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.retrieval.request.parameters import RequestParameters, parse_parameters
from shopwindow.retrieval.search.product_index import ProductIndex, SearchResult

__all__ = [
    "InProcessPipeline",
    "IndexUnfit",
    "InvalidRequest",
    "ProductIndex",
    "RequestParameters",
    "RetrievalError",
    "SearchResult",
    "parse_parameters",
]
