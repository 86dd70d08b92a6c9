"""Replies that cannot be true, from a real gRPC server: every one is a ServerFault, in both clients."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from shopwindow_client import (
    AsyncRetrievalClient,
    Hedge,
    Part,
    Product,
    Results,
    RetrievalClient,
    ServerFault,
    ServerOverloaded,
    ShopwindowError,
)
from tests.client.sending.false_server import Answer, false_server, message, refusing, results

INF, NAN = np.inf, np.nan
IDS, SCORES = [[7, 8, 9]], [[0.9, 0.8, 0.7]]
BOTH = "embedding,lexical"


def ask_both(answer: Answer | bytes, call: str, given: Any, **options: Any) -> list[Any]:
    """Return what each client returns or raises. Anything but a ShopwindowError fails the test."""

    async def ask_async(url: str) -> Any:
        async with AsyncRetrievalClient(url, timeout_s=30.0) as client:
            return await getattr(client, call)(given, **options)

    found: list[Any] = []
    with false_server(answer) as url, RetrievalClient(url, timeout_s=30.0) as client:
        for ask in (lambda: getattr(client, call)(given, **options), lambda: asyncio.run(ask_async(url))):
            try:
                found.append(ask())
            except ShopwindowError as error:
                found.append(error)
    return found


def text_reply(content: bytes, shape: list[int]) -> bytes:
    """Make a reply of embed_query with text."""
    reply = message(embedding=np.eye(1, 4, dtype=np.float32))
    reply.outputs.add(name="towers", datatype="BYTES", shape=shape)
    reply.raw_output_contents.append(content)
    return reply.SerializeToString()


def typed_reply() -> bytes:
    """Make a reply that holds its numbers in another place than Triton does."""
    reply = service_pb2.ModelInferResponse()
    ids = reply.outputs.add(name="product_ids", datatype="INT64", shape=[1, 3])
    ids.contents.int64_contents.extend(IDS[0])
    reply.outputs.add(name="scores", datatype="FP32", shape=[1, 3]).contents.fp32_contents.extend(SCORES[0])
    return reply.SerializeToString()


def shaped(shape: list[int], content: bytes = b"") -> bytes:
    """Make a reply whose ids claim a shape."""
    reply = message(scores=np.array(SCORES, np.float32))
    reply.outputs.add(name="product_ids", datatype="INT64", shape=shape)
    reply.raw_output_contents.append(content)
    return reply.SerializeToString()


def twice() -> bytes:
    reply = service_pb2.ModelInferResponse.FromString(results(IDS, SCORES))
    reply.outputs.add().CopyFrom(reply.outputs[1])
    reply.raw_output_contents.append(reply.raw_output_contents[1])
    return reply.SerializeToString()


FALSE_RESULTS = {
    "no message": (b"\xff\xff\xff", "are no ModelInferResponse"),
    "nothing": (b"", "nothing in product_ids"),
    "numbers in another place": (typed_reply(), "2 outputs with 0 contents"),
    "an output twice": (twice(), "3 outputs with 3 contents"),
    "too few rows": (results(np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32)), r"shape \(0, 3\)"),
    "too many rows": (results(IDS * 2, SCORES * 2), r"shape \(2, 3\)"),
    "one axis": (results(IDS[0], SCORES[0]), r"shape \(3,\)"),
    "three axes": (results([IDS], [SCORES]), r"shape \(1, 1, 3\)"),
    "more columns than asked": (results([[1, 2, 3, 4]], [[4, 3, 2, 1]]), r"of 3 columns with shape \(1, 4\)"),
    "fewer columns than asked": (results([[1, 2]], [[2, 1]]), r"of 3 columns with shape \(1, 2\)"),
    "unequal widths": (results(IDS, [[0.9, 0.8]]), r"shape \(1, 2\) in scores"),
    "no columns": (shaped([1, 0]), r"shape \(1, 0\)"),
    "a huge shape": (shaped([1, 2**62]), r"shape \(1, 4611686018427387904\)"),
    "a shape below 0": (shaped([-1, -3], bytes(24)), r"shape \(-1, -3\)"),
    "bytes missing": (shaped([1, 3], bytes(23)), r"23 bytes for shape \(1, 3\)"),
    "bytes too many": (shaped([1, 3], bytes(25)), r"25 bytes for shape \(1, 3\)"),
    "FP32 ids": (results(np.array(IDS, np.float32), SCORES), "of INT64 with FP32 in product_ids"),
    "INT32 ids": (results(np.array(IDS, np.int32), SCORES), "with INT32 in product_ids"),
    "FP64 scores": (results(IDS, np.array(SCORES)), "with FP64 in scores"),
    "nan first": (results(IDS, [[NAN, 0.8, 0.7]]), "nan"),
    "nan within": (results(IDS, [[0.9, NAN, 0.7]]), "nan"),
    "nan last": (results(IDS, [[0.9, 0.8, NAN]]), "nan"),
    "infinity": (results(IDS, [[INF, 0.8, 0.7]]), "infinity in scores"),
    "rising scores": (results(IDS, [[0.7, 0.8, 0.9]]), "scores that rise"),
    "a product twice": (results([[7, 8, 7]], SCORES), "products that repeat"),
    "a product twice, and padding": (results([[7, 7, -1]], [[0.9, 0.8, -INF]]), "products that repeat"),
    "padding first": (results([[-1, 8, 9]], SCORES), "products without scores, or scores without products"),
    "a score without a product": (results([[7, 8, -1]], SCORES), "scores without products"),
    "a product without a score": (results(IDS, [[0.9, 0.8, -INF]]), "products without scores"),
}


@pytest.mark.parametrize(("reply", "named"), FALSE_RESULTS.values(), ids=FALSE_RESULTS)
def test_results_that_cannot_be_true_are_a_fault_of_the_server(reply: bytes, named: str) -> None:
    for error in ask_both(reply, "retrieve", "mug", top_k=3, request_id="cart-17"):
        assert type(error) is ServerFault
        assert error.args[0].startswith("retrieve ")
        with pytest.raises(ServerFault, match=named):
            raise error
        assert (error.retryable, error.attempts, error.request_id) == (False, 1, "cart-17")


FALSE_EMBEDDINGS = {
    "nan": (message(embedding=np.array([[0.1, NAN]], np.float32)).SerializeToString(), "nan or infinity in embedding"),
    "infinity": (message(embedding=np.array([[0.1, INF]], np.float32)).SerializeToString(), "nan or infinity"),
    "whole numbers": (message(embedding=np.eye(1, 4, dtype=np.int64)).SerializeToString(), "with INT64 in embedding"),
    "no width": (message(embedding=np.zeros((1, 0), np.float32)).SerializeToString(), r"shape \(1, 0\)"),
}


@pytest.mark.parametrize(("reply", "named"), FALSE_EMBEDDINGS.values(), ids=FALSE_EMBEDDINGS)
def test_embeddings_that_cannot_be_true_are_a_fault_of_the_server(reply: bytes, named: str) -> None:
    for call in ("embed_query", "retrieve_composed"):
        for error in ask_both(reply, call, "mug" if call == "embed_query" else [Part("mug")]):
            assert type(error) is ServerFault
            with pytest.raises(ServerFault, match=named):
                raise error


def test_towers_of_two_exports_are_a_fault_of_the_server() -> None:
    def answer(request: Any, context: Any) -> bytes:
        width = 4 if request.model_name == "embed_query" else 8
        return message(embedding=np.eye(1, width, dtype=np.float32)).SerializeToString()

    for error in ask_both(answer, "retrieve_composed", [Part("mug"), Part(Product("mug"))]):
        assert type(error) is ServerFault
        assert "embeddings of different lengths" in str(error)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x03\0\0", b"\x09\0\0\0abc", b"\xff\xff\xff\xffabc", b"\x02\0\0\0abc", b"\x01\0\0\0\xff"],
    ids=["nothing", "half a length", "too long", "far too long", "too short", "not UTF-8"],
)
def test_lengths_of_texts_that_lie_are_a_fault_that_info_survives(content: bytes) -> None:
    config = service_pb2.ModelConfigResponse()
    config.config.output.add(name="towers")
    config.config.parameters["tower_hash"].string_value = "abc"
    config.config.input.add(name="embedding")  # without dimensions
    config.config.max_batch_size = -5
    with false_server(text_reply(content, [1, 1]), config=config) as url, RetrievalClient(url) as client:
        info = client.info()  # it leaves out what the model says wrongly
        assert (info.tower_hash, info.embedding_dim, info.max_batch_size) == ("abc", None, None)
        assert len(client.embed_query("mug")) == 1  # which did not ask for the text


def test_what_info_shows_has_no_control_characters() -> None:
    config = service_pb2.ModelConfigResponse()
    config.config.output.add(name="towers")
    config.config.parameters["key\x1b"].string_value = "a\u202eb"
    with false_server(text_reply(b"\x03\0\0\0a\x1bb", [1, 1]), config=config) as url, RetrievalClient(url) as client:
        info = client.info()
    assert (info.name, info.version, info.tower_hash) == (r"\x1b[31mred\x1b[0m", r"1\u202e", r"a\x1bb")
    assert info.parameters == {r"key\x1b": r"a\u202eb"}


@pytest.mark.parametrize(
    "channels",
    [[[1, 2, 0]], [[1, 2, 4]], [[1, -1, 2]], [[1, 2]]],
    ids=["none for a product", "too many", "below 0", "unequal widths"],
)
def test_channels_that_cannot_be_true_are_a_fault_of_the_server(channels: Any) -> None:
    reply = results(IDS, SCORES, channels=np.array(channels, np.int64))
    for error in ask_both(reply, "retrieve", "mug", channels=BOTH):
        assert type(error) is ServerFault
        assert "channels" in str(error) or "shapes" in str(error)


def test_parts_of_one_call_with_other_widths_are_a_fault_of_the_servers() -> None:
    config = service_pb2.ModelConfigResponse()
    config.config.max_batch_size = 1

    def answer(request: Any, context: Any) -> bytes:
        return results(IDS, SCORES) if request.id.endswith("-0") else results([[7, 8]], [[0.9, 0.8]])

    with (
        false_server(answer, config=config) as url,
        RetrievalClient(url) as client,
        pytest.raises(ServerFault, match=r"2 and 3 columns in product_ids.*all replicas"),
    ):
        client.retrieve(["mug", "dress"])


def test_what_is_unusual_but_true_passes() -> None:
    padded = results([[7, -1, -1]], [[-0.5, -INF, -INF]])
    equal = results([[7, -5, 0]], [[0.0, -0.0, 0.0]], unknown=np.zeros((9, 9), np.int64))
    none = results([[-1, -1, -1]], [[-INF] * 3])
    for reply, ids in ((padded, [7]), (equal, [7, -5, 0]), (none, [])):
        for found in ask_both(reply, "retrieve", "mug", top_k=3):
            assert found[0].ids.tolist() == ids
    tagged = results(IDS, SCORES, channels=np.array([[1, 2, 3]]))
    for found in ask_both(tagged, "retrieve", "mug", channels=BOTH):
        assert found.channels.tolist() == [[1, 2, 3]]


def test_a_hedged_call_checks_its_reply_too() -> None:
    with (
        false_server(results(IDS, [[0.7, 0.8, 0.9]])) as url,
        RetrievalClient(url, hedge=Hedge(after_s=5.0)) as client,
        pytest.raises(ServerFault, match="scores that rise"),
    ):
        client.retrieve("mug", timeout_s=30.0)


@pytest.mark.parametrize("status", [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK])
def test_whatever_status_a_server_sends_the_error_is_typed_short_and_without_control_characters(
    status: grpc.StatusCode,
) -> None:
    said = "\x1b]0;title\x07\x1b[31m\u202ered\u2066 \x9b31m\r\nnext\x00" + "x" * 5_000
    for error in ask_both(refusing(status, said), "retrieve", "mug", request_id="cart-17"):
        assert isinstance(error, ShopwindowError)
        assert str(error).isprintable()
        assert len(str(error)) <= 2_000
        assert r"\x1b[31m\u202ered\u2066 \x9b31m  next\x00" in str(error) or "timeout_s" in str(error)
        # What Python prints of an error that nobody catches has only this text, not gRPC's error.
        assert error.__cause__ is None
        assert error.__suppress_context__


def test_a_long_error_reaches_the_caller_and_a_longer_one_is_no_overload() -> None:
    long, longer = (refusing(grpc.StatusCode.INTERNAL, "x" * size) for size in (20_000, 200_000))
    for error in ask_both(long, "retrieve", "mug"):
        assert "xxx [...] xxx" in str(error)
        assert "The server's log says more" in str(error)
    for error in ask_both(longer, "retrieve", "mug"):
        assert type(error) is ServerFault
        assert not isinstance(error, ServerOverloaded)
        assert "metadata size" in str(error)


def test_whatever_bytes_a_server_sends_the_reply_is_true_or_the_error_has_a_type() -> None:
    true = results(IDS, SCORES, channels=np.array([[1, 2, 3]]))
    rng = random.Random(8)
    kinds: set[type] = set()

    def answer(request: Any, context: Any) -> bytes:
        reply = bytearray(true)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(reply))
            reply[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        return bytes(reply)

    with false_server(answer) as url, RetrievalClient(url, timeout_s=30.0) as client:
        for _ in range(500):
            try:
                found = client.retrieve("mug", channels=BOTH, top_k=3)
            except ServerFault as error:
                kinds.add(type(error))
            else:
                kinds.add(type(found))
                assert (np.diff(found.scores) <= 0).all()
    assert kinds == {ServerFault, Results}


def test_an_earlier_server_that_knows_no_text_ids_answers_every_caller() -> None:
    def answer(request: Any, context: Any) -> bytes:
        if "product_keys" in {output.name for output in request.outputs}:
            together.wait(timeout=10)  # each caller asks before any of them was refused
            return refusing(
                grpc.StatusCode.INVALID_ARGUMENT, "unexpected inference output 'product_keys' for model 'retrieve'"
            )(request, context)
        return results([[7]], [[0.5]])

    together = threading.Barrier(4)
    with (
        false_server(answer) as url,
        RetrievalClient(url, retry=None) as client,
        ThreadPoolExecutor(4) as callers,
    ):
        found = list(callers.map(lambda query: client.retrieve(query, top_k=1), ["mug"] * 4))
        assert [one.ids.tolist() for one in found] == [[[7]]] * 4
        assert client.retrieve("mug", top_k=1)[0].to_list()[0]["product_id"] == 7
