"""product_index: embeddings to product ids and scores."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils

import stub
from retrieval.bundle import check_plans
from retrieval.channels.search import check_channels, search_channels
from retrieval.engines import EngineOptions
from retrieval.live_loading import index_loader
from retrieval.parameters import parse_parameters
from retrieval.text import clean_queries


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        engine = EngineOptions.from_environment(
            instance_kind=args["model_instance_kind"], device=int(args["model_instance_device_id"])
        )
        if args["model_instance_kind"] == "GPU":  # where the towers before this step are plans, which check nothing
            check_plans(context.repository)
        self.live = context.live(index_loader(context.repository, engine, follow=context.flag("follow_towers")))
        pb_utils.Logger.log_info(f"product_index: {self.live.current.engine_description}")

    def finalize(self):
        self.live.close()

    def execute(self, requests):
        index = self.live.current  # once: no batch mixes generations

        def prepare(request):
            embeddings = stub.array(request, "embedding")
            parameters = parse_parameters(stub.parameters(request))
            index.check(embeddings, parameters)
            queries = clean_queries(stub.texts(request, "query")) if stub.given(request, "query") else []
            check_channels(index, parameters, words=bool(queries))
            return embeddings, queries, parameters

        def search(prepared):
            started = time.perf_counter()
            results = search_channels(index, prepared)
            elapsed_us = int((time.perf_counter() - started) * 1e6)
            for result in results:
                timings = np.full((len(result.scores), 1), elapsed_us, np.int64)
                yield {**stub.found(result, index.manifest.generation), "timings_us": timings}

        return stub.answer(requests, prepare, search)
