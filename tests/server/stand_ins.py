"""Models that stand in for the real pipelines, so that tests of the watch decide what they do: work, hang or compute.

They have the names, the inputs and the outputs of the profile `cpu`, and take one request at a time. They obey orders
in their texts: `compute 5 FILE` keeps a core busy for five seconds, `hang 5 FILE` does nothing for as long. First the
process writes its id to FILE. While there is a file such as `retrieve.waits` beside the repository, a new process of
that model does nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient

_MODEL = """
import os, time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        time.sleep(1)  # so that a test sees it loading
        while os.path.exists(args["model_repository"] + "/../../" + args["model_name"] + ".waits"):
            time.sleep(0.2)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        rows = [pb_utils.get_input_tensor_by_name(request, name) for name in ("query", "title", "embedding")]
        rows = next(tensor for tensor in rows if tensor is not None).as_numpy()
        if rows.dtype == object:
            self.obey(rows.flat[0].decode())
        vectors = np.eye(len(rows), 4, dtype=np.float32)
        vectors[:, 0] = 1.0
        found = {
            "product_ids": np.full((len(rows), 1), os.getpid(), np.int64),
            "scores": np.ones((len(rows), 1), np.float32),
            "embedding": vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
            "modality_weights": np.full((len(rows), 2), 0.5, np.float32),
        }
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, found[name]) for name in wanted if name in found])

    def obey(self, text):
        order, _, rest = text.partition(" ")
        if order not in ("compute", "hang"):
            return
        seconds, file = rest.split()
        with open(file, "w") as told:
            told.write(str(os.getpid()))
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            if order == "hang":
                time.sleep(end - time.monotonic())
"""
_IDS = [("product_ids", "INT64", -1), ("scores", "FP32", -1), ("channels", "INT64", -1), ("generation", "INT64", 1)]
_QUERY, _PRODUCT = [("query", "STRING", 1)], [("title", "STRING", 1), ("image", "STRING", 1)]
_VECTOR = [("embedding", "FP32", 4)]
_MODELS = {
    "retrieve": (_QUERY, _IDS),
    "retrieve_similar": (_PRODUCT, _IDS[:2]),
    "embed_query": (_QUERY, _VECTOR),
    "embed_product": (_PRODUCT, [*_VECTOR, ("modality_weights", "FP32", 2)]),
    "product_index": (_VECTOR, _IDS[:2]),
}


def write_stand_ins(repository: Path, *, processes: int = 1) -> Path:
    """Write the models. `retrieve` has so many processes, the others have one each."""
    for model, (inputs, outputs) in _MODELS.items():
        folder = repository / model
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.py").write_text(_MODEL)
        count = processes if model == "retrieve" else 1
        (folder / "config.pbtxt").write_text(
            f'backend: "python"\nmax_batch_size: 64\n'
            f"input [ {_tensors(inputs)} ]\noutput [ {_tensors(outputs)} ]\n"
            f"instance_group [ {{ count: {count} kind: KIND_CPU }} ]\n"
        )
    return repository


def order(client: grpcclient.InferenceServerClient, text: str, *, timeout_s: float = 60.0, length: int = 0) -> int:
    """Send a query to `retrieve`, and return the id of the process that answered.

    Args:
        client: A client of the server.
        text: The query.
        timeout_s: Seconds that the answer may take.
        length: Bytes by which to lengthen the query.
    """
    query = grpcclient.InferInput("query", [1, 1], "BYTES")
    query.set_data_from_numpy(np.array([[text.encode() + b" " * length]], dtype=object))
    reply = client.infer(
        "retrieve", [query], outputs=[grpcclient.InferRequestedOutput("product_ids")], client_timeout=timeout_s
    )
    return int(reply.as_numpy("product_ids")[0, 0])


def _tensors(tensors: list[tuple[str, str, int]]) -> str:
    return ", ".join(f'{{ name: "{name}" data_type: TYPE_{kind} dims: [ {size} ] }}' for name, kind, size in tensors)
