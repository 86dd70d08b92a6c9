"""Requests without this project's client: tritonclient for gRPC, the standard library for HTTP."""

from __future__ import annotations

import functools
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, service_pb2
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor, serialize_byte_tensor

DATATYPES = {"O": "BYTES", "f4": "FP32", "f8": "FP64", "i4": "INT32", "i8": "INT64", "u1": "UINT8"}


class Refused(Exception):
    """The server answered with an error.

    Args:
        status: The code of gRPC or HTTP, as text.
        message: The error message.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


@functools.cache
def grpc_client(url: str) -> InferenceServerClient:
    """Return the connection to an address. It stays open until the process ends."""
    return InferenceServerClient(url)


def texts(*values: bytes | str) -> np.ndarray:
    """Return a BYTES tensor of shape (rows, 1)."""
    column = np.empty((len(values), 1), dtype=object)
    column[:, 0] = [value.encode() if isinstance(value, str) else value for value in values]
    return column


def ask(
    server: Any,
    model: str,
    inputs: Mapping[str, np.ndarray],
    *,
    outputs: Sequence[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Send one request over gRPC and return the outputs by name."""
    tensors = []
    for name, array in inputs.items():
        tensor = InferInput(name, list(array.shape), _datatype(array))
        tensors.append(tensor.set_data_from_numpy(array))
    requested = None if outputs is None else [InferRequestedOutput(name) for name in outputs]
    try:
        reply = grpc_client(server.grpc_url).infer(
            model, tensors, outputs=requested, parameters=dict(parameters or {}), client_timeout=60, **options
        )
    except InferenceServerException as error:
        raise Refused(str(error.status()), error.message()) from None
    return {output.name: reply.as_numpy(output.name) for output in reply.get_response().outputs}


def ask_http(
    server: Any,
    model: str,
    inputs: Mapping[str, np.ndarray],
    *,
    outputs: Sequence[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Do the same over HTTP, with tensors as raw bytes after the JSON. Only so can HTTP carry a photo or NaN."""
    head: dict[str, Any] = {"inputs": [], "parameters": {"binary_data_output": True, **(parameters or {})}}
    if outputs is not None:
        head["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    blobs = []
    for name, array in inputs.items():
        blobs.append(serialize_byte_tensor(array).item() if array.dtype == object else array.tobytes())
        head["inputs"].append(
            {
                "name": name,
                "shape": array.shape,
                "datatype": _datatype(array),
                "parameters": {"binary_data_size": len(blobs[-1])},
            }
        )
    text = json.dumps(head).encode()
    headers, body = post(server, model, text + b"".join(blobs), {"Inference-Header-Content-Length": str(len(text))})
    split = int(headers["Inference-Header-Content-Length"])
    found, start = {}, split
    for output in json.loads(body[:split])["outputs"]:
        stop = start + output["parameters"]["binary_data_size"]
        kind = {datatype: kind for kind, datatype in DATATYPES.items()}[output["datatype"]]
        raw = body[start:stop]
        values = deserialize_bytes_tensor(raw) if kind == "O" else np.frombuffer(raw, kind)
        found[output["name"]] = values.reshape(output["shape"])
        start = stop
    return found


def post(server: Any, model: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[Any, bytes]:
    """Do what `curl -d BODY http://SERVER/v2/models/MODEL/infer` does, and return the reply's headers and body.

    Raises:
        Refused: The server answered with an error. The message is the reply's "error".
    """
    url = f"http://{server.http_url}/v2/models/{model}/infer"
    try:
        with _http.open(urllib.request.Request(url, body, dict(headers or {})), timeout=60) as reply:
            return reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            raise Refused(str(error.code), json.load(error)["error"]) from None


def get(server: Any, path: str) -> Any:
    """Return the JSON at http://SERVER/PATH."""
    with _http.open(f"http://{server.http_url}/{path}", timeout=60) as reply:
        return json.load(reply)


def executions(server: Any, model: str) -> service_pb2.ModelStatistics:
    """Return Triton's statistics for a model, which only its owner reads."""
    client = grpc_client(server.grpc_url)
    return client.get_inference_statistics(model, headers=server.owner_header).model_stats[0]


_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # without a proxy from the environment


def _datatype(array: np.ndarray) -> str:
    return DATATYPES["O" if array.dtype == object else array.dtype.str[1:]]
