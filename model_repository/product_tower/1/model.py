"""product_tower on a CPU: prepared products to embeddings, by ONNX Runtime. On a GPU, model.plan does it."""

import numpy as np

from shopwindow.retrieval.embedding.onnx_towers import OnnxProductTower
from shopwindow.retrieval.embedding.product_inputs import ProductBatch, concatenate
from shopwindow.retrieval.embedding.text import TextEncoder, check_values
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.context import Context


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        context.bundle.check(context.repository, context.layout.product_tower, context.layout.title_tokenizer)
        self.encoder = TextEncoder.read(context.layout.title_tokenizer, context.bundle.title_max_tokens)
        self.tower = OnnxProductTower(context.layout.product_tower)
        size = context.bundle.image_size
        token = np.zeros((1, 1), np.int32)  # the first call allocates memory; do not let a caller wait for it
        self.tower(
            ProductBatch(
                title_ids=token,
                title_mask=token + 1,
                pixels=np.zeros((1, size, size, 3), np.uint8),
                modality_mask=np.ones((1, 2), np.float32),
            )
        )

    def execute(self, requests):
        return batch_io.answer(requests, self._prepare, self._encode)

    def _prepare(self, request):
        names = ("title_ids", "title_mask", "pixels", "modality_mask")
        batch = ProductBatch(**{name: batch_io.array(request, name) for name in names})
        self.encoder.check(batch.title_ids, batch.title_mask, ids_field="title_ids", mask_field="title_mask")
        mask = batch.modality_mask
        check_values("modality_mask", mask, (mask == 0) | (mask == 1), "0 or 1")
        check_values("modality_mask", mask.max(axis=1), mask.any(axis=1), "of which at least one is 1")
        return batch

    def _encode(self, batches):
        embeddings, weights = self.tower(concatenate(batches))
        sizes = [len(batch.pixels) for batch in batches]
        for embedding, weight in zip(batch_io.split(embeddings, sizes), batch_io.split(weights, sizes), strict=True):
            yield {"product_embedding": embedding, "modality_weights": weight}
