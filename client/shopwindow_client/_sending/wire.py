"""Turns model requests into messages of Triton's protocol, and replies back. Pure functions, no connection."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig
from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor, triton_to_np_dtype

from .._values.errors import ServerFault
from .._values.requests import Array, ModelRequest, Reply
from .._values.results import ServerInfo


def to_message(request: ModelRequest, request_id: str) -> ModelInferRequest:
    """Return the request as a message of Triton's protocol."""
    message = ModelInferRequest(model_name=request.model, id=request_id)
    for name, array in request.inputs.items():
        is_text = array.dtype == np.object_
        message.inputs.add(name=name, datatype="BYTES" if is_text else "FP32", shape=array.shape)
        message.raw_input_contents.append(serialize_byte_tensor(array).item() if is_text else array.tobytes())
    for name in request.outputs:
        message.outputs.add(name=name)
    for name, value in request.parameters.items():
        if isinstance(value, str):
            message.parameters[name].string_param = value
        elif isinstance(value, bool):
            message.parameters[name].bool_param = value
        elif isinstance(value, int):
            message.parameters[name].int64_param = value
        else:
            message.parameters[name].double_param = value
    return message


def limit_queueing(message: ModelInferRequest, left_s: float) -> None:
    """Let the server drop the request if it is still queued after `left_s` seconds."""
    # Microseconds. 0 would mean no limit.
    message.parameters["timeout"].int64_param = max(1, int(left_s * 1e6))


def name_deadline(message: ModelInferRequest, left_s: float) -> None:
    """Tell the server the time of the deadline, `left_s` seconds from now. Time in queues counts towards it."""
    message.parameters["deadline_unix_ms"].int64_param = int((time.time() + left_s) * 1e3)


def from_message(response: ModelInferResponse, request: ModelRequest) -> Reply:
    """Return the outputs that `request` asked for.

    Raises:
        ServerFault: An output is missing or has another number of rows than the request.
    """
    arrays = decode(response)
    for name in request.outputs:
        array = arrays.get(name)
        # A Python backend whose numpy does not fit its stub answers with empty outputs and no error.
        if array is None or array.ndim != 2 or len(array) != request.rows:
            got = "nothing" if array is None else f"shape {array.shape}"
            raise ServerFault(
                f"{request.model} answered {request.rows} rows with {got} in {name}. Check that the server and this "
                "client have the same version. The server's log may say more."
            )
    return {name: arrays[name] for name in request.outputs}


def decode(response: ModelInferResponse) -> dict[str, Array]:
    """Return the outputs of a response by name."""
    arrays = {}
    for output, content in zip(response.outputs, response.raw_output_contents):
        shape, kind = tuple(output.shape), np.dtype(triton_to_np_dtype(output.datatype))
        if output.datatype == "BYTES":
            arrays[output.name] = deserialize_bytes_tensor(content).reshape(shape)
        elif len(content) == kind.itemsize * int(np.prod(shape)):
            arrays[output.name] = np.frombuffer(content, kind).reshape(shape)
    return arrays


def server_info(
    name: str,
    version: str,
    retrieve: ModelConfig | None,
    index: ModelConfig | None,
    generation: int | None = None,
    towers: str | None = None,
) -> ServerInfo:
    """Return what the configurations of `retrieve` and `product_index` and some replies say about the server.

    Any of them may be missing.
    """
    parameters: dict[str, str] = {}
    for config in (index, retrieve):  # if both state a limit, that of `retrieve` counts
        if config is not None:
            parameters.update({key: value.string_value for key, value in config.parameters.items()})
    return ServerInfo(
        name=name,
        version=version,
        max_batch_size=None if retrieve is None else retrieve.max_batch_size or None,
        max_top_k=_number(parameters, "max_top_k"),
        default_top_k=_number(parameters, "default_top_k"),
        embedding_dim=embedding_dim(index) or _number(parameters, "embedding_dim"),
        tower_hash=towers or parameters.get("tower_hash"),
        generation=generation,
        parameters=parameters,
    )


def embedding_dim(index: ModelConfig | None) -> int | None:
    """Return the width of the embeddings that `product_index` takes. None: its configuration does not say."""
    widths = [] if index is None else [tensor.dims[-1] for tensor in index.input if tensor.name == "embedding"]
    return next((width for width in widths if width > 0), None)


def _number(parameters: Mapping[str, str], key: str) -> int | None:
    text = parameters.get(key, "")
    return int(text) if text.isdecimal() else None
