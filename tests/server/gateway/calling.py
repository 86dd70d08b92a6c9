"""Calls through a gateway by plain gRPC and HTTP."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from http.client import HTTPConnection
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from shopwindow.server.gateway import Gateway
from shopwindow.server.tritonserver import DIRECT

OPEN = [*DIRECT, ("grpc.max_send_message_length", -1)]


def bearer(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"authorization": f"Bearer {key}"}


def question(padding: int = 0) -> Any:
    """Return a request to the small model, with some bytes too many."""
    request = service_pb2.ModelInferRequest(model_name="scale")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1])
    assert tensor.name == "x"
    request.raw_input_contents.append(struct.pack("<f", 21.0) + bytes(padding))
    return request


def call(
    url: str,
    method: str = "ModelInfer",
    request: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    credentials: grpc.ChannelCredentials | None = None,
) -> tuple[str, str]:
    """Call a method of Triton's service. Return the name of the gRPC status, and the message of an error."""
    secure = credentials is not None
    channel = grpc.secure_channel(url, credentials, OPEN) if secure else grpc.insecure_channel(url, OPEN)
    with channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            getattr(stub, method)(request or question(), timeout=30, metadata=[*(headers or {}).items()])
        except grpc.RpcError as error:
            return error.code().name, error.details()
    return "OK", ""


def http(gateway: Gateway, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> int:
    """Send a request to the HTTP port, or to the metrics port if the path says so. Return the status."""
    url = gateway.metrics_url.removesuffix("/metrics") if path.startswith("/metrics") else gateway.http_url
    connection = HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        return connection.getresponse().status
    finally:
        connection.close()
