"""A real gRPC server that speaks Triton's protocol and answers whatever a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

Answer = Callable[[Any, Any], bytes]
"""Takes a ModelInferRequest and gRPC's context."""


@contextmanager
def false_server(
    answer: Answer | bytes, *, address: str = "127.0.0.1:0", config: service_pb2.ModelConfigResponse | None = None
) -> Iterator[str]:
    """Start a server, and return its address.

    Args:
        answer: The reply to each inference, or what makes it.
        address: Where to listen.
        config: The reply to each question for a configuration. None: it names no limits.
    """
    infer = answer if callable(answer) else lambda request, context: answer
    methods = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(infer, service_pb2.ModelInferRequest.FromString),
        "ModelConfig": grpc.unary_unary_rpc_method_handler(
            lambda request, context: config or service_pb2.ModelConfigResponse(),
            response_serializer=service_pb2.ModelConfigResponse.SerializeToString,
        ),
        "ServerMetadata": grpc.unary_unary_rpc_method_handler(
            lambda request, context: service_pb2.ServerMetadataResponse(name="\x1b[31mred\x1b[0m", version="1\u202e"),
            response_serializer=service_pb2.ServerMetadataResponse.SerializeToString,
        ),
    }
    handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
    options = [("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", 2**20)]
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handler], options=options)
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield address if address.startswith("unix") else f"{address.rpartition(':')[0]}:{port}"
    finally:
        server.stop(None).wait()


def results(ids: Any, scores: Any, **others: Any) -> bytes:
    """Make a reply to a search. Arrays keep their types; lists become those of the contract."""
    return message(
        product_ids=ids if isinstance(ids, np.ndarray) else np.array(ids, np.int64),
        scores=scores if isinstance(scores, np.ndarray) else np.array(scores, np.float32),
        **others,
    ).SerializeToString()


def message(**arrays: np.ndarray) -> service_pb2.ModelInferResponse:
    """Make a reply with these outputs."""
    reply = service_pb2.ModelInferResponse()
    for name, array in arrays.items():
        reply.outputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        content = serialize_byte_tensor(array).item() if array.dtype == np.object_ else array.tobytes()
        reply.raw_output_contents.append(content)
    return reply


def refusing(status: grpc.StatusCode, text: str) -> Answer:
    """Answer with an error."""

    def refuse(request: Any, context: Any) -> bytes:
        context.abort(status, text)
        raise AssertionError("abort raises")

    return refuse
