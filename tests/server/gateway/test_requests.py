"""Requests that would end Triton, or fail the other requests of their batch, are refused before Triton sees them."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from http.client import HTTPConnection
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from shopwindow.server import TritonServer
from shopwindow.server.gateway import Gateway
from shopwindow.server.gateway.options import MAX_HTTP_BYTES
from tests.server.gateway.calling import OPEN
from tests.server.gateway.conftest import StartGateway
from tests.server.gateway.test_limits import resident_bytes

METHOD = "/inference.GRPCInferenceService/ModelInfer"
INFER = "/v2/models/texts/infer"
WORDS = [b"red dress", b"", "茶壺".encode()]


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway) -> Gateway:
    return start_gateway()


@pytest.fixture(autouse=True)
def _triton_lives_and_answers(triton: TritonServer, gateway: Gateway) -> Any:
    before = triton.pid
    yield
    assert triton.pid == before
    assert lengths(ask(gateway, message(pack(WORDS), [3]))) == [9, 0, 6]


def pack(texts: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def message(raw: bytes, shape: list[int], *, classes: str = "") -> bytes:
    """Return a serialized request to the model `texts`."""
    request = service_pb2.ModelInferRequest(model_name="texts", raw_input_contents=[raw])
    request.inputs.add(name="texts", datatype="BYTES", shape=shape)
    if classes:
        request.outputs.add(name="same").parameters[classes].int64_param = 1
    return bytes(request.SerializeToString())


def field(number: int, content: bytes | int) -> bytes:
    """Return a field of a protobuf message, written by hand."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def ask(
    gateway: Gateway, body: bytes, compression: grpc.Compression = grpc.Compression.NoCompression
) -> tuple[str, Any]:
    """Send these bytes as a ModelInferRequest. Return the status, and the reply or the error message."""
    with grpc.insecure_channel(gateway.grpc_url, OPEN) as channel:
        try:
            return "OK", channel.unary_unary(METHOD)(body, timeout=30, compression=compression)
        except grpc.RpcError as error:
            return error.code().name, error.details()


def lengths(answer: tuple[str, Any]) -> list[int]:
    """Return the output `lengths` of a gRPC reply."""
    assert answer[0] == "OK", answer
    reply = service_pb2.ModelInferResponse.FromString(answer[1])
    [place] = [place for place, output in enumerate(reply.outputs) if output.name == "lengths"]
    content = reply.raw_output_contents[place]
    return list(struct.unpack(f"<{len(content) // 4}i", content))


def post(gateway: Gateway, body: bytes, headers: dict[str, str] | None = None, path: str = INFER) -> tuple[int, Any]:
    """Send a body to the model's HTTP address. Return the status and the JSON of the reply."""
    connection = HTTPConnection(gateway.http_url.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


LYING: dict[str, tuple[bytes, list[int]]] = {
    "a text longer than the tensor": (struct.pack("<I", 100) + b"red", [1]),
    "a text of 4 GiB": (struct.pack("<I", 2**32 - 1) + b"red", [1]),
    "fewer texts than the shape": (pack([b"red"]), [2]),
    "more texts than the shape": (pack([b"red", b"blue"]), [1]),
    "half a length": (b"\x01\x00", [1]),
    "nothing": (b"", [1]),
    "rests": (pack([b"red"]) + b"xyz", [1]),
    "2^32 texts": (pack([b"red"]), [2**32]),
    "2^64 texts": (pack([b"red"]), [2**32, 2**32]),
    "fewer than no texts": (pack([b"red"]), [-1]),
    "no rows": (b"", [0, 128]),
    "65,537 texts": (bytes(4 * 65_537), [65_537]),
}


@pytest.mark.parametrize("case", LYING)
def test_texts_that_are_not_as_the_shape_says_are_refused(gateway: Gateway, case: str) -> None:
    raw, shape = LYING[case]
    status, error = ask(gateway, message(raw, shape))
    assert (status, error.startswith("inputs[0]")) == ("INVALID_ARGUMENT", True), error
    tensor = {"name": "texts", "datatype": "BYTES", "shape": shape, "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    code, reply = post(gateway, head + raw, {"Inference-Header-Content-Length": str(len(head))})
    assert (code, reply["error"].startswith("inputs[0]")) == (400, True), reply


@pytest.mark.parametrize(
    "path", ["/infer?a=b", "/infer/?", "/versions/1/infer?x=/infer", "/infer?", "/infer/?/x", "/%69nfer", "//infer"]
)
def test_no_spelling_of_the_path_hides_a_lie(gateway: Gateway, path: str) -> None:
    body = b'{"inputs": [{"name": "texts", "datatype": "BYTES", "shape": [4294967296], "data": ["a"]}]}'
    code, reply = post(gateway, body, path=f"/v2/models/texts{path}")
    assert (code, reply["error"].startswith("inputs[0].shape")) == (400, True)


def test_the_second_tensor_is_checked_too(gateway: Gateway) -> None:
    request = service_pb2.ModelInferRequest.FromString(message(pack(WORDS), [3]))
    request.inputs.add(name="more", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(b"\xff\xff\xff\xff")
    assert ask(gateway, request.SerializeToString())[1].startswith("inputs[1]: text 0 has 4294967295 bytes")


def test_the_shape_of_any_type_is_bounded(gateway: Gateway) -> None:
    for datatype in ("FP32", "INT64", ""):
        request = service_pb2.ModelInferRequest(model_name="scale", raw_input_contents=[bytes(4)])
        request.inputs.add(name="x", datatype=datatype, shape=[2**32, 1])
        status, error = ask(gateway, request.SerializeToString())
        assert (status, error) == ("INVALID_ARGUMENT", "inputs[0].shape: a size is not from 0 to 2147483647")


def test_no_spelling_of_a_message_hides_a_lie(gateway: Gateway) -> None:
    raw = field(7, struct.pack("<I", 9) + b"red")
    spellings = {
        "sizes one by one": field(1, b"texts") + field(2, b"BYTES") + field(3, 1),
        "sizes in two packs": field(1, b"texts") + field(2, b"BYTES") + field(3, b"\x01") + field(3, b"\x01"),
        "the last datatype counts": field(2, b"FP32") + field(1, b"texts") + field(3, b"\x01") + field(2, b"BYTES"),
        "unknown fields": field(1, b"texts") + field(2, b"BYTES") + field(3, 1) + field(99, 5) + field(98, b"abc"),
    }
    for name, tensor in spellings.items():
        for body in (field(1, b"texts") + field(5, tensor) + raw, raw + field(5, tensor) + field(1, b"texts")):
            status, error = ask(gateway, body)
            assert (status, error.startswith("inputs[0]")) == ("INVALID_ARGUMENT", True), (name, error)


NO_MESSAGES = {
    "no tag": b"\xff" * 9,
    "a shape without an end": field(5, b"\x1a\xff\x01"),
    "a group": b"\x0b\x0c",
    "a field beyond the end": b"\x3a\xff\xff\xff\xff\x0f",
    "1,001 fields": field(4, b"") * 1_001,
    "half a number": b"\x0d\x00",
}


@pytest.mark.parametrize("case", NO_MESSAGES)
def test_bytes_that_are_no_message_are_refused(gateway: Gateway, case: str) -> None:
    status, error = ask(gateway, NO_MESSAGES[case])
    assert (status, error.startswith("the message: ")) == ("INVALID_ARGUMENT", True), error


def test_classes_are_refused(gateway: Gateway) -> None:
    status, error = ask(gateway, message(pack(WORDS), [3], classes="classification"))
    assert (status, error.startswith("classification: ")) == ("INVALID_ARGUMENT", True)
    assert ask(gateway, message(pack(WORDS), [3], classes="classificatioN"))[0] == "OK"
    inputs = '"inputs": [{"name": "texts", "datatype": "BYTES", "shape": [1], "data": ["classification"]}]'
    for name in ("classification", r"cl\u0061ssification", r"\u0063lassificatio\u006E"):
        body = '{%s, "outputs": [{"name": "same", "parameters": {"%s": 1}}]}' % (inputs, name)  # noqa: UP031
        code, reply = post(gateway, body.encode())
        assert (code, reply["error"].startswith("classification: ")) == (400, True), name
    assert post(gateway, ("{%s}" % inputs).encode())[0] == 200  # noqa: UP031


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"inputs": [{"name": "texts", "name": "x"}]}', "twice"),
        ('{"inputs": [' + '{"a": [' * 20 + "1", "levels"),
        ('{"inputs": [' + '"a",' * 100_001 + "1]}", "values"),
        ('{"inputs": [{"name": "texts', "without an end"),
        ('{"inputs": []} {}', "more than one value"),
        ('"inputs"', "no object"),
        ('{"inputs": [{"shape": [4294967296], "data": []}]}', "inputs[0].shape"),
        ('{"inputs": ["x"]}', "inputs[0]"),
        ('{"inputs": [{"parameters": {"binary_data_size": 1e99}}]}', "binary_data_size"),
        ('{"inputs": [{"parameters": {"binary_data_size": "5"}}]}', "binary_data_size"),
    ],
)
def test_json_that_lies_or_has_no_end_is_refused_and_named(gateway: Gateway, body: str, says: str) -> None:
    code, reply = post(gateway, body.encode())
    assert (code, says in reply["error"]) == (400, True), reply


@pytest.mark.parametrize("length", ["-1", "99999", "1e3", "0x10", "", "9" * 30])
def test_a_wrong_length_of_the_json_is_refused(gateway: Gateway, length: str) -> None:
    code, reply = post(gateway, b'{"inputs": []}', {"Inference-Header-Content-Length": length})
    assert (code, reply["error"].startswith("inference-header-content-length: ")) == (400, True)


def test_texts_in_json_and_behind_it_come_through(gateway: Gateway) -> None:
    text = 'a "quoted" \\ word, [brackets] {and} \u00e9\u8336\n'
    tensor = {"name": "texts", "datatype": "BYTES", "shape": [2], "data": [text, ""]}
    _, reply = post(gateway, json.dumps({"inputs": [tensor], "id": "7", "parameters": {"a": True}}).encode())
    assert {output["name"]: output["data"] for output in reply["outputs"]}["same"] == [text, ""]
    del tensor["data"]
    raw = pack([text.encode(), b""])
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    _, reply = post(gateway, head + raw, {"Inference-Header-Content-Length": str(len(head))})
    assert {output["name"]: output["data"] for output in reply["outputs"]}["same"] == [text, ""]


def test_compressed_requests_are_read_and_checked(gateway: Gateway) -> None:
    many = [b"red dress" * 100] * 50
    assert lengths(ask(gateway, message(pack(many), [50]), grpc.Compression.Gzip)) == [900] * 50
    assert lengths(ask(gateway, message(pack([b"x"]), [1]), grpc.Compression.Gzip)) == [1]  # too short to compress
    status, error = ask(gateway, message(pack(many), [51]), grpc.Compression.Gzip)
    assert (status, error) == ("INVALID_ARGUMENT", "inputs[0]: has 50 texts, and its shape says 51")
    assert ask(gateway, message(pack(many), [50]), grpc.Compression.Deflate) == (
        "UNIMPLEMENTED",
        "grpc-encoding: must be gzip or identity",
    )
    tensor = {"name": "texts", "datatype": "BYTES", "shape": [1], "data": ["red"]}
    body = json.dumps({"inputs": [tensor]}).encode()
    code, reply = post(gateway, gzip.compress(body), {"Content-Encoding": "gzip"})
    assert (code, reply["outputs"][0]["data"]) == (200, [3])
    tensor["shape"] = [2**32]
    bad = gzip.compress(json.dumps({"inputs": [tensor]}).encode())
    assert post(gateway, bad, {"Content-Encoding": "gzip"})[0] == 400
    for encoding, sent in (("deflate", zlib.compress(body)), ("br", body), ("gzip, gzip", gzip.compress(body))):
        assert post(gateway, sent, {"Content-Encoding": encoding})[0] == 415


def test_a_small_request_that_unpacks_to_a_huge_one_is_refused(gateway: Gateway, triton: TritonServer) -> None:
    before = resident_bytes(triton.pid), resident_bytes(gateway.pid)
    body = b'{"inputs": "' + bytes(4 * MAX_HTTP_BYTES)
    assert post(gateway, gzip.compress(body), {"Content-Encoding": "gzip"})[0] == 400
    assert ask(gateway, bytes(200 * 2**20), grpc.Compression.Gzip)[0] == "RESOURCE_EXHAUSTED"
    status, error = ask(gateway, random.Random(0).randbytes(2**19), grpc.Compression.Gzip)
    assert (status, error.startswith("compressed message too large")) == ("RESOURCE_EXHAUSTED", True)
    assert resident_bytes(triton.pid) < before[0] + 32 * 2**20
    assert resident_bytes(gateway.pid) < before[1] + 512 * 2**20
