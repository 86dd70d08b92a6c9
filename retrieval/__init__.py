"""Retrieval as a plain library: text, photos and index folders in, product ids and scores out. No torch, no Triton."""

from retrieval.errors import IndexUnfit, InvalidRequest, RetrievalError
from retrieval.parameters import RequestParameters, parse_parameters
from retrieval.pipeline import InProcessPipeline
from retrieval.product_index import ProductIndex, SearchResult

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
