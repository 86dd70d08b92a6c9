"""retrieve_similar on a CPU: preprocessor, product tower and index in one model. On a GPU the ensemble does it."""

import stub
from retrieval.live_loading import pipeline_loader


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        self.live = context.live(
            pipeline_loader(context.repository, lambda pipeline: pipeline.retrieve_similar(["warm up"], [b""]))
        )

    def finalize(self):
        self.live.close()

    def execute(self, requests):
        pipeline = self.live.current  # once: no batch mixes generations

        def prepare(request):
            batch = pipeline.prepare_products(stub.texts(request, "title"), stub.texts(request, "image"))
            return batch, pipeline.prepare_parameters(stub.parameters(request))

        def retrieve(prepared):
            generation = pipeline.index.manifest.generation
            return (stub.found(result, generation) for result in pipeline.answer_products(prepared))

        return stub.answer(requests, prepare, retrieve)
