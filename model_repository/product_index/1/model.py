"""product_index: embeddings to product ids and scores."""

import time

import numpy as np

import stub
from retrieval.bundle import Bundle
from retrieval.parameters import parse_parameters
from retrieval.product_index import ProductIndex


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        self.index = ProductIndex.open(context.index, tower_hash=Bundle.read(context.repository).tower_hash)

    def execute(self, requests):
        return stub.answer(requests, self._prepare, self._search)

    def _prepare(self, request):
        embeddings = stub.array(request, "embedding")
        parameters = parse_parameters(stub.parameters(request))
        self.index.check(embeddings, parameters)
        return embeddings, parameters

    def _search(self, requests):
        started = time.perf_counter()
        results = self.index.search_batch(requests)
        elapsed_us = int((time.perf_counter() - started) * 1e6)
        for result in results:
            rows = len(result.scores)
            yield {
                "product_ids": result.product_ids,
                "scores": result.scores,
                "generation": np.full((rows, 1), self.index.manifest.generation, np.int64),
                "timings_us": np.full((rows, 1), elapsed_us, np.int64),
            }
