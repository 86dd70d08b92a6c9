"""embed_product on a CPU: preprocessor and product tower in one model. On a GPU the ensemble does it."""

import stub
from retrieval.live_loading import towers_loader
from retrieval.products import concatenate
from stub.admission import Admission

# Catalogues are embedded in large batches, and those who do it rather wait.
BULK_LIMIT_MS = 5000


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        self.live = context.live(
            towers_loader(context.repository, lambda towers: towers.embed_product(["warm up"], [b""]))
        )
        self.admission = Admission(context, self._answer, limit_ms=BULK_LIMIT_MS)

    def finalize(self):
        self.live.close()

    def execute(self, requests):
        return self.admission.take(requests)

    def _answer(self, requests):
        towers = self.live.current  # once: no batch mixes towers

        def prepare(request):
            return towers.prepare_products(stub.texts(request, "title"), stub.texts(request, "image"))

        def embed(batches):
            embeddings, weights = towers.embed_prepared(concatenate(batches))
            sizes = [len(batch.pixels) for batch in batches]
            for embedding, weight in zip(stub.split(embeddings, sizes), stub.split(weights, sizes), strict=True):
                named = stub.named(towers.bundle, len(embedding))
                yield {"embedding": embedding, "modality_weights": weight, "towers": named}

        return stub.answer(requests, prepare, embed)
