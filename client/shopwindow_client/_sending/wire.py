"""Turns model requests into messages of Triton's protocol. Pure functions, no connection."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig
from tritonclient.grpc.service_pb2 import ModelInferRequest
from tritonclient.utils import serialize_byte_tensor

from .._values.errors import MessageTooLarge
from .._values.printable import printable
from .._values.requests import MAX_EMBEDDING_DIM, Array, ModelRequest
from .._values.results import ServerInfo

_MAX_MESSAGE_BYTES = 2**31 - 1 - 2**20  # protobuf cannot write 2 GiB; a mebibyte for all but the tensors


def to_message(request: ModelRequest, request_id: str) -> ModelInferRequest:
    """Return the request as a message of Triton's protocol.

    Raises:
        MessageTooLarge: No message can hold it.
    """
    size = sum(map(_size, request.inputs.values()))
    if size > _MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"{request.model}: {request.rows} rows of {size:,} bytes; a message has at most {_MAX_MESSAGE_BYTES:,}. "
            "Send fewer rows per call or smaller photos."
        )
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
            parameters.update(
                {printable(key): printable(value.string_value) for key, value in config.parameters.items()}
            )
    return ServerInfo(
        name=printable(name),
        version=printable(version),
        max_batch_size=None if retrieve is None or retrieve.max_batch_size < 1 else retrieve.max_batch_size,
        max_top_k=_number(parameters, "max_top_k"),
        default_top_k=_number(parameters, "default_top_k"),
        embedding_dim=embedding_dim(index) or _number(parameters, "embedding_dim"),
        tower_hash=printable(towers) if towers else parameters.get("tower_hash"),
        generation=generation,
        parameters=parameters,
    )


def embedding_dim(index: ModelConfig | None) -> int | None:
    """Return the width of the embeddings that `product_index` takes. None: its configuration does not say."""
    given = [] if index is None else [tensor.dims for tensor in index.input if tensor.name == "embedding"]
    return next((dims[-1] for dims in given if dims and 0 < dims[-1] <= MAX_EMBEDDING_DIM), None)


def _number(parameters: Mapping[str, str], key: str) -> int | None:
    text = parameters.get(key, "")
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _size(array: Array) -> int:
    return sum(4 + len(value) for value in array[:, 0]) if array.dtype == np.object_ else array.nbytes
