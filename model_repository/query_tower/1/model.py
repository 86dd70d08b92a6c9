"""query_tower on a CPU: token ids to embeddings, by ONNX Runtime. On a GPU, model.plan beside this file does it."""

import numpy as np

import stub
from retrieval.onnx_towers import OnnxQueryTower
from retrieval.products import pad_columns


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        context.bundle.check(context.repository, context.layout.query_tower)
        self.tower = OnnxQueryTower(context.layout.query_tower)
        self.tower(np.zeros((1, 1), np.int32), np.ones((1, 1), np.int32))  # the first call allocates: not a caller's

    def execute(self, requests):
        return stub.answer(requests, self._prepare, self._encode)

    def _prepare(self, request):
        return stub.array(request, "input_ids"), stub.array(request, "attention_mask")

    def _encode(self, requests):
        # Padding is masked, so whatever id stands there is never seen.
        embeddings = self.tower(pad_columns([ids for ids, _ in requests]), pad_columns([mask for _, mask in requests]))
        for part in stub.split(embeddings, [len(ids) for ids, _ in requests]):
            yield {"query_embedding": part}
