"""retrieve_similar on a CPU: preprocessor, product tower and index in one model. On a GPU the ensemble does it."""

import stub
from retrieval.pipeline import InProcessPipeline


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        self.pipeline = InProcessPipeline(context.repository, context.index)
        self.pipeline.retrieve_similar(["warm up"], [b""])

    def execute(self, requests):
        return stub.answer(requests, self._prepare, self._retrieve)

    def _prepare(self, request):
        batch = self.pipeline.prepare_products(stub.texts(request, "title"), stub.texts(request, "image"))
        return batch, self.pipeline.prepare_parameters(stub.parameters(request))

    def _retrieve(self, requests):
        return (vars(result) for result in self.pipeline.answer_products(requests))
