"""The page in Shopwindow, in process: a vector and parameters in, ids and JSON out.

python -m shopwindow_loadtests.page_bench.store_shopwindow INDEX
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from shopwindow.retrieval import open_index
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.request.parameters import parse_parameters, with_outputs
from shopwindow.retrieval.search.by_channels import ChannelRequest, search_channels
from shopwindow.retrieval.search.page_outputs import page_outputs
from shopwindow_loadtests.page_bench.answering import Page, Question, serve
from shopwindow_loadtests.page_bench.page_requests import FACETS, FIELDS, TOP_K

_OUTPUTS = frozenset({"attributes", "facets", "total", "group_sizes"})


def main(home: Path) -> None:
    """Open the index and answer."""
    index = open_index(resolve_index(home))

    def page(vector: np.ndarray, question: Question) -> Page:
        given = {
            "top_k": TOP_K,
            "filter": json.dumps({"in_stock": True, "price": {"lt": question.price_below}}),
            "fields": json.dumps(FIELDS),
            "facets": json.dumps(FACETS),
            "collapse": "style",
            "offset": 0,
        }
        parameters = parse_parameters(given | ({"effort": question.effort} if question.effort else {}))
        index.check(vector[None], parameters)
        parameters = with_outputs(parameters, _OUTPUTS)
        (result,) = search_channels(index, [ChannelRequest(vector[None], (), parameters)])
        outputs = page_outputs(index, result, parameters, _OUTPUTS)
        ids = result.product_ids[0]
        return Page(
            ids=ids[ids >= 0].tolist(),
            total=int(outputs["total"][0, 0]),
            facets=json.loads(outputs["facets"][0, 0]),
        )

    serve(page, f"Shopwindow, {index.engine_description}, in process")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
