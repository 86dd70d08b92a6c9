"""Triton's errors do not tell callers the names of its shared memory, with which they could write into it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from shopwindow.server.gateway import Gateway, GatewayOptions
from shopwindow.server.ports import choose_ports
from shopwindow.server.runtime_folder import RuntimeFolder
from shopwindow_client import RetrievalClient, ServerUnreachable
from tests.server.gateway.calling import call, http, question
from tests.server.gateway.conftest import StartGateway

SAID = "Failed to increase the shared memory pool size for key '{}' to 4096 bytes"


class Upstream(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Servers that answer each request with this error of Triton, as Triton does when shared memory is full."""

    owner_header: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, error: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"error": error}).encode()
                self.send_response(500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.error = error
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.grpc = grpc.server(ThreadPoolExecutor(2))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self.grpc)
        port = self.grpc.add_insecure_port("127.0.0.1:0")
        self.grpc.start()
        self.ports = {"grpc": port, "http": self.http.server_port, "metrics": self.http.server_port}

    def ModelInfer(self, request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.INTERNAL, self.error)


@pytest.fixture(scope="module")
def region() -> Iterator[str]:
    folder = RuntimeFolder()
    yield f"{folder.regions}-c9dbd6ae-87c2-4848-a3ae-8fe07ede8b23_shm_region_1"
    folder.close()


@pytest.fixture(scope="module")
def gateway(region: str) -> Iterator[Gateway]:
    upstream: Any = Upstream(SAID.format(region))
    gateway = Gateway(GatewayOptions(http_port=0, grpc_port=0, metrics_port=0), upstream)
    gateway.start()
    yield gateway
    gateway.stop()
    upstream.grpc.stop(None)
    upstream.http.shutdown()
    upstream.http.server_close()


def test_an_error_over_grpc_hides_the_name_of_a_region(gateway: Gateway) -> None:
    assert call(gateway.grpc_url) == ("INTERNAL", SAID.format("(a region of shared memory)"))


def test_an_error_over_http_does_too(gateway: Gateway) -> None:
    connection = HTTPConnection(gateway.http_url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/v2")
    assert json.load(connection.getresponse()) == {"error": SAID.format("(a region of shared memory)")}
    connection.close()


@pytest.mark.parametrize(
    "body", ["{", "[]", '{"inputs": {}}', '{"inputs": [], "id": 1}', '{"inputs": [{"shape": ["x"]}]}']
)
def test_json_that_triton_cannot_read_is_the_caller_s_fault(start_gateway: StartGateway, body: str) -> None:
    assert http(start_gateway(), "POST", "/v2/models/scale/infer", body) == 400


def test_the_client_knows_that_a_request_never_reached_triton() -> None:
    class Absent:
        ports = choose_ports("127.0.0.1", {"grpc": 0, "http": 0, "metrics": 0})  # nothing listens there
        owner_header: dict[str, str] = {}  # noqa: RUF012

    absent: Any = Absent()
    gateway = Gateway(GatewayOptions(http_port=0, grpc_port=0, metrics_port=0), absent)
    gateway.start()
    try:
        with RetrievalClient(gateway.grpc_url, retry=None) as client, pytest.raises(ServerUnreachable):
            client.embed_query("red dress")
    finally:
        gateway.stop()


LONG = ("x" * 1500 + "🧸") * 66  # the bear is four bytes


def changed(change: Callable[[Any], object]) -> tuple[str, Any]:
    """Return a method, and a request for it that was changed."""
    request = question()
    change(request)
    return "ModelInfer", request


LONG_NAMES = {
    "id": changed(lambda request: setattr(request, "id", LONG)),
    "inputs[0].name": changed(lambda request: setattr(request.inputs[0], "name", LONG)),
    "inputs[0].datatype": changed(lambda request: setattr(request.inputs[0], "datatype", LONG)),
    "inputs[0].shape": changed(lambda request: request.inputs[0].shape.extend([1] * 10_000)),
    "inputs[0].parameters": changed(
        lambda request: setattr(request.inputs[0].parameters["shared_memory_region"], "string_param", "\n")
    ),
    "outputs[0].name": changed(lambda request: request.outputs.add(name=LONG)),
    "the request.parameters": changed(lambda request: setattr(request.parameters[LONG], "string_param", "x")),
    "inputs": changed(lambda request: [request.inputs.add(name="x") for _ in range(64)]),
    "outputs": changed(lambda request: [request.outputs.add(name="y") for _ in range(65)]),
    "model_name": ("ModelReady", service_pb2.ModelReadyRequest(name=LONG)),
    "model_version": ("ModelMetadata", service_pb2.ModelMetadataRequest(name="scale", version="\n")),
}


@pytest.mark.parametrize("field", LONG_NAMES)
def test_names_that_triton_would_quote_are_refused_and_harm_no_other_caller(
    start_gateway: StartGateway, field: str
) -> None:
    gateway = start_gateway()
    method, hostile = LONG_NAMES[field]
    with grpc.insecure_channel(gateway.grpc_url, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        others = [service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(question()) for _ in range(8)]
        status, message = call(gateway.grpc_url, method, hostile)
        assert [other.result(timeout=30).model_name for other in others] == ["scale"] * 8
    assert (status, message.startswith(f"{field}: ")) == ("INVALID_ARGUMENT", True)
    assert len(message) <= 200


def post(gateway: Gateway, body: Any) -> tuple[int, str]:
    """Send JSON to the small model. Return the status and the error."""
    connection = HTTPConnection(gateway.http_url.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", "/v2/models/scale/infer", json.dumps(body))
        reply = connection.getresponse()
        return reply.status, json.load(reply)["error"]
    finally:
        connection.close()


@pytest.mark.parametrize(
    "body",
    [
        {"id": LONG, "inputs": []},
        {"id": "\u2028", "inputs": []},
        {"inputs": [{"name": LONG}]},
        {"inputs": [{"parameters": {"shared_memory_region": LONG}}]},
        {"inputs": [], "outputs": [{"name": "a\nb"}]},
        {"inputs": [], "parameters": {LONG: 1}},
    ],
)
def test_names_in_json_are_bounded_too(start_gateway: StartGateway, body: Any) -> None:
    gateway = start_gateway()
    status, error = post(gateway, body)
    assert (status, "printable ASCII" in error) == (400, True)
    assert http(gateway, "GET", f"/v2/models/{'x' * 1025}") == 400


def test_an_error_that_lists_many_names_is_cut(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    names = [f"{number:02}" + '"' * 200 for number in range(64)]
    hostile = question()
    del hostile.inputs[:]
    for name in names:
        hostile.inputs.add(name=name, datatype="FP32", shape=[1])
        hostile.raw_input_contents.append(bytes(4))
    del hostile.raw_input_contents[0]
    inputs = [{"name": name, "datatype": "FP32", "shape": [1], "data": [1]} for name in names]
    status, message = call(gateway.grpc_url, request=hostile)
    code, error = post(gateway, {"inputs": inputs})
    assert (status, code) == ("INVALID_ARGUMENT", 400)
    for text in (message, error):
        assert text.endswith(" ...")
        assert len(text) <= 2_000
    assert post(gateway, {"inputs": [*inputs, inputs[0]]}) == (400, "inputs: more than 64")
