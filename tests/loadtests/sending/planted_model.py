"""A Triton model that answers from a table and has planted faults, for the tests of the load tests.

It runs inside Triton as `retrieve` and `retrieve_similar`. A fault is a file beside it that holds a number n. `stall`
stops everything for 200 ms at every n-th request. `loss` gives only half of the right products from the n-th request
on. `refuse` refuses every n-th request.
"""

import json
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

HERE = Path(__file__).parent
STALL_S = 0.2


class TritonPythonModel:
    def initialize(self, args):
        self.answers = json.loads((HERE / "answers.json").read_text())
        self.counts = {}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        if self.turn("stall")[1]:
            time.sleep(STALL_S)
        if self.turn("refuse")[1]:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("planted"))
        top_k = int(json.loads(request.parameters()).get("top_k", 10))
        words = pb_utils.get_input_tensor_by_name(request, "query")
        words = words or pb_utils.get_input_tensor_by_name(request, "title")
        ids = np.array([self.row(text.decode(), top_k) for text in words.as_numpy().ravel()], np.int64)
        count, _ = self.turn("loss")
        if count and count >= self.number("loss"):
            ids[:, top_k // 2 :] = -1
        scores = np.where(ids < 0, -np.inf, 1.0).astype(np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("product_ids", ids), pb_utils.Tensor("scores", scores)])

    def row(self, text, top_k):
        found = self.answers.get(text, [])[:top_k]
        return found + [-1] * (top_k - len(found))

    def turn(self, fault):
        """Return how many requests came since a fault was planted, and whether it strikes this one."""
        number = self.number(fault)
        self.counts[fault] = self.counts.get(fault, 0) + 1 if number else 0
        return self.counts[fault], bool(number) and self.counts[fault] % number == 0

    def number(self, fault):
        try:
            return int((HERE / fault).read_text())
        except (FileNotFoundError, ValueError):
            return 0
