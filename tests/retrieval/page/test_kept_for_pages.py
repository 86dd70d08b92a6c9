"""What pages keep for later requests has a bound, whatever the requests are."""

from __future__ import annotations

import gc
import json
import random
import tracemalloc
from typing import Any

import numpy as np

from shopwindow.retrieval import parse_parameters
from shopwindow.retrieval.request.page.page_request import PAGE_OUTPUTS
from shopwindow.retrieval.search.by_channels import ChannelRequest, search_channels
from shopwindow.retrieval.search.page_outputs import page_outputs
from tests.retrieval.page.shops import Plan, grid, opened

WARM_UP, REQUESTS = 70, 80
VALUES = 700  # of each filter: 28 kB in memory, and twice as much with its boost


def request(rng: random.Random) -> dict[str, Any]:
    """Return a page request with a long filter and a long boost that no other has."""
    numbers = [[rng.randrange(10**9, 10**10) for _ in range(VALUES)] for _ in range(2)]
    return {
        "filter": json.dumps({"stock": {"not_in": numbers[0]}}),
        "boost": json.dumps([{"if": {"supplier": {"in": numbers[1]}}, "add": 0.5}]),
        "facets": json.dumps({"colour": rng.randint(1, 1_000), "price": {"ranges": [0, rng.uniform(1, 50), None]}}),
        "collapse": json.dumps({"by": rng.choice(["style", "supplier", "price"]), "members": 2}),
        "offset": 0,
    }


def test_long_filters_and_boosts_are_not_kept_for_good() -> None:
    rng, (_, index) = random.Random(1), opened(Plan(rows=60, seed=3))

    def ask(count: int) -> None:
        for _ in range(count):
            parameters = parse_parameters(request(rng))
            index.check_parameters(parameters)
            (result,) = search_channels(index, [ChannelRequest(grid(8)[:1].astype(np.float32), [""], parameters)])
            page_outputs(index, result, parameters, PAGE_OUTPUTS)

    tracemalloc.start()
    try:
        ask(WARM_UP)  # now as many masks of filters are kept as may be
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        ask(REQUESTS)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < REQUESTS * 6_000, f"{grown / REQUESTS:.0f} bytes a request"
