"""query_tower on a CPU: token ids to embeddings, by ONNX Runtime. On a GPU, model.plan beside this file does it."""

import numpy as np

from shopwindow.retrieval.embedding.onnx_towers import OnnxQueryTower
from shopwindow.retrieval.embedding.product_inputs import pad_columns
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.context import Context


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        context.bundle.check(context.repository, context.layout.query_tower, context.layout.query_tokenizer)
        self.encoder = TextEncoder.read(context.layout.query_tokenizer, context.bundle.query_max_tokens)
        self.tower = OnnxQueryTower(context.layout.query_tower)
        # The first call allocates memory. Do not let a caller wait for it.
        self.tower(np.zeros((1, 1), np.int32), np.ones((1, 1), np.int32))

    def execute(self, requests):
        return batch_io.answer(requests, self._prepare, self._encode)

    def _prepare(self, request):
        ids, mask = batch_io.array(request, "input_ids"), batch_io.array(request, "attention_mask")
        self.encoder.check(ids, mask, ids_field="input_ids", mask_field="attention_mask")
        return ids, mask

    def _encode(self, requests):
        # Padding is masked, so its token id does not matter.
        embeddings = self.tower(pad_columns([ids for ids, _ in requests]), pad_columns([mask for _, mask in requests]))
        for part in batch_io.split(embeddings, [len(ids) for ids, _ in requests]):
            yield {"query_embedding": part}
