"""product_index: embeddings to product ids and scores."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils

import stub
from retrieval.bundle import Bundle
from retrieval.channels.search import check_channels, search_channels
from retrieval.engines import EngineOptions
from retrieval.parameters import parse_parameters
from retrieval.product_index import ProductIndex
from retrieval.text import clean_queries


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        engine = EngineOptions.from_environment(
            instance_kind=args["model_instance_kind"], device=int(args["model_instance_device_id"])
        )
        tower_hash = Bundle.read(context.repository).tower_hash
        self.index = ProductIndex.open(context.index, tower_hash=tower_hash, engine=engine)
        pb_utils.Logger.log_info(f"product_index: {self.index.engine_description}")

    def execute(self, requests):
        return stub.answer(requests, self._prepare, self._search)

    def _prepare(self, request):
        embeddings = stub.array(request, "embedding")
        parameters = parse_parameters(stub.parameters(request))
        self.index.check(embeddings, parameters)
        queries = clean_queries(stub.texts(request, "query")) if stub.given(request, "query") else []
        check_channels(self.index, parameters, words=bool(queries))
        return embeddings, queries, parameters

    def _search(self, requests):
        started = time.perf_counter()
        results = search_channels(self.index, requests)
        elapsed_us = int((time.perf_counter() - started) * 1e6)
        for result in results:
            rows = len(result.scores)
            yield {
                "product_ids": result.product_ids,
                "scores": result.scores,
                "channels": result.channels,
                "generation": np.full((rows, 1), self.index.manifest.generation, np.int64),
                "timings_us": np.full((rows, 1), elapsed_us, np.int64),
            }
