"""retrieve on a CPU: tokeniser, query tower and index in one model. On a GPU the ensemble does it."""

import stub
from retrieval.pipeline import InProcessPipeline
from retrieval.text import clean_queries


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        self.pipeline = InProcessPipeline(context.repository, context.index)
        self.pipeline.retrieve(["warm up"])

    def execute(self, requests):
        return stub.answer(requests, self._prepare, self._retrieve)

    def _prepare(self, request):
        queries = clean_queries(stub.texts(request, "query"))
        return queries, self.pipeline.prepare_parameters(stub.parameters(request), words=True)

    def _retrieve(self, requests):
        return (vars(result) for result in self.pipeline.answer_queries(requests))
