"""product_tower on a CPU: prepared products to embeddings, by ONNX Runtime. On a GPU, model.plan does it."""

import stub
from retrieval.onnx_towers import OnnxProductTower
from retrieval.products import ProductBatch, concatenate


class TritonPythonModel:
    def initialize(self, args):
        self.tower = OnnxProductTower(stub.Context(args).layout.product_tower)

    def execute(self, requests):
        return stub.answer(requests, self._prepare, self._encode)

    def _prepare(self, request):
        names = ("title_ids", "title_mask", "pixels", "modality_mask")
        return ProductBatch(**{name: stub.array(request, name) for name in names})

    def _encode(self, batches):
        embeddings, weights = self.tower(concatenate(batches))
        sizes = [len(batch.pixels) for batch in batches]
        for embedding, weight in zip(stub.split(embeddings, sizes), stub.split(weights, sizes), strict=True):
            yield {"product_embedding": embedding, "modality_weights": weight}
