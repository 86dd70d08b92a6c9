"""retrieve on a CPU: tokeniser, query tower and index in one model. On a GPU the ensemble does it."""

import stub
from retrieval.live_loading import pipeline_loader
from retrieval.text import clean_queries


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        self.live = context.live(pipeline_loader(context.repository, lambda pipeline: pipeline.retrieve(["warm up"])))

    def finalize(self):
        self.live.close()

    def execute(self, requests):
        pipeline = self.live.current  # once: no batch mixes generations

        def prepare(request):
            queries = clean_queries(stub.texts(request, "query"))
            return queries, pipeline.prepare_parameters(stub.parameters(request), words=True)

        def retrieve(prepared):
            generation = pipeline.index.manifest.generation
            return (stub.found(result, generation) for result in pipeline.answer_queries(prepared))

        return stub.answer(requests, prepare, retrieve)
