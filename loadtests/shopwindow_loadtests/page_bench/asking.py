"""Asks a server one request after the other, and reads its CPU time."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

from shopwindow.server.tritonserver import DIRECT
from shopwindow_loadtests.generator.driving import Target
from shopwindow_loadtests.generator.reading import Reading
from shopwindow_loadtests.generator.server_cpu import cpu_seconds
from shopwindow_loadtests.page_bench.page_requests import Variant

_TIMEOUT_S = 30.0
_STEP = 7_919  # a prime, so that the products of `like` are spread over the catalogue


class Caller:
    """One caller that waits for each answer before it asks again.

    Args:
        target: The server.
        queries: Shoppers' queries. Each variant asks them in the same order, so the server must cache none.
        products: Number of products; their ids count from 0.
    """

    def __init__(self, target: Target, queries: Sequence[str], products: int) -> None:
        self._pid = target.pid
        self._client = InferenceServerClient(target.url, channel_args=DIRECT)
        self._queries = queries
        self._products = products
        self._asked = Counter[str]()
        self._numbers = count()  # of price limits: no two variants share one

    def measure(self, variant: Variant, queries: int) -> Reading:
        """Ask the next queries of a variant, each with another price limit than all before.

        Args:
            variant: What to ask.
            queries: How many.

        Raises:
            tritonclient.utils.InferenceServerException: The server refused one.
        """
        took = []
        before = sum(cpu_seconds(self._pid).values())
        for _ in range(queries):
            began = time.perf_counter()
            self.ask(variant)
            took.append(time.perf_counter() - began)
        spent_s = sum(cpu_seconds(self._pid).values()) - before
        p50, p99 = np.quantile(took, (0.5, 0.99))
        return Reading(
            queries_per_s=queries / sum(took),
            cpu_ms=1e3 * spent_s / queries,
            p50_ms=1e3 * float(p50),
            p99_ms=1e3 * float(p99),
        )

    def ask(self, variant: Variant) -> np.ndarray:
        """Ask the next query of a variant. Return the ids of the products, (top_k,) int64."""
        place = self._asked[variant.name]
        self._asked[variant.name] += 1
        if variant.like:
            model, name = "product_index", "like"
            content = json.dumps({"ids": [place * _STEP % self._products]})
        else:
            model, name, content = "retrieve", "query", self._queries[place % len(self._queries)]
        given = InferInput(name, [1, 1], "BYTES")
        given.set_data_from_numpy(np.array([[content.encode()]], np.object_))
        outputs = [InferRequestedOutput(output) for output in ("product_ids", "scores", *variant.outputs)]
        found = self._client.infer(
            model,
            [given],
            outputs=outputs,
            parameters=variant.texts(next(self._numbers)),
            client_timeout=_TIMEOUT_S,
        )
        ids: np.ndarray = found.as_numpy("product_ids")[0]
        return ids
