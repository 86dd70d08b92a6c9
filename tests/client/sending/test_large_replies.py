"""Replies far larger than what was asked for end in time, in little memory, as an error with a type."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from shopwindow_client import AsyncRetrievalClient, MessageTooLarge, RetrievalClient, ServerFault
from shopwindow_client._values.options import MAX_REPLY_BYTES
from tests.client.sending.false_server import false_server, message, results

MEGABYTE = 2**20


def wide(megabytes: int) -> bytes:
    """Make a reply of one row with far too many products."""
    width = megabytes * MEGABYTE // 12
    return results(np.zeros((1, width), np.int64), np.zeros((1, width), np.float32))


def crowded(outputs: int) -> bytes:
    """Make a reply with empty outputs. Reading it takes a hundred times its size."""
    return b"\x2a\x00" * outputs


def ask_both(url: str, timeout_s: float, **options: Any) -> list[tuple[Exception, float]]:
    """Return the errors of both clients, and how many seconds each took."""

    async def ask() -> None:
        async with AsyncRetrievalClient(url) as client:
            await client.retrieve("mug", timeout_s=timeout_s, **options)

    found = []
    with RetrievalClient(url) as client:
        for call in (
            lambda: client.retrieve("mug", timeout_s=timeout_s, **options),
            lambda: asyncio.run(ask()),
        ):
            began = time.monotonic()
            with pytest.raises(Exception) as caught:  # its type is what is tested
                call()
            found.append((caught.value, time.monotonic() - began))
    return found


def test_a_reply_of_200_megabytes_is_refused_by_its_size_alone() -> None:
    reply = wide(200)
    with false_server(reply) as url:
        for error, _ in ask_both(url, 60.0, top_k=10):
            assert type(error) is ServerFault
            assert f"{len(reply)} vs. {MAX_REPLY_BYTES}" in str(error)
            assert "more than was asked for" in str(error)


def test_a_reply_that_grows_when_it_is_unpacked_is_refused() -> None:
    reply = wide(40)

    def packed(request: Any, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return reply

    with false_server(packed) as url:
        for error, _ in ask_both(url, 60.0):
            assert isinstance(error, (ServerFault, MessageTooLarge))


@pytest.mark.parametrize("reply", [wide(20), crowded(10 * MEGABYTE)], ids=["wide", "crowded"])
def test_a_reply_larger_than_was_asked_for_is_not_read(reply: bytes) -> None:
    with false_server(reply) as url:
        for error, _ in ask_both(url, 60.0, top_k=10):
            assert type(error) is ServerFault
            assert f"retrieve sent {len(reply):,} bytes, more than the 70,817 that were asked for" in str(error)


def test_a_call_takes_no_longer_than_its_deadline_however_much_the_server_sends() -> None:
    with false_server(wide(200)) as url:
        for _, seconds in ask_both(url, 0.3, top_k=10):
            assert seconds < 2.0


def test_the_client_splits_lists_so_that_each_reply_fits() -> None:
    config = service_pb2.ModelConfigResponse()
    config.config.max_batch_size = 1_000
    asked: list[int] = []

    def answer(request: Any, context: Any) -> bytes:
        (rows, _), top_k = request.inputs[0].shape, request.parameters["top_k"].int64_param
        asked.append(rows)
        ids, scores = np.arange(top_k), -np.arange(top_k, dtype=np.float32)
        return results(np.tile(ids, (rows, 1)), np.tile(scores, (rows, 1)))

    with false_server(answer, config=config) as url, RetrievalClient(url) as client:
        found = client.retrieve(["mug"] * 300, top_k=10_000, timeout_s=60.0)
    assert found.ids.shape == (300, 10_000)
    assert asked == [6] * 50  # 12 bytes a product, and 516 for its text id, which the client knows only from the reply


def test_a_list_whose_reply_exceeds_the_caller_s_own_limit_is_too_large() -> None:
    reply = message(embedding=np.ones((1, 1_000), np.float32)).SerializeToString()
    limit = {"grpc.max_receive_message_length": 1_000}
    with (
        false_server(reply) as url,
        RetrievalClient(url, channel_options=limit) as client,
        pytest.raises(MessageTooLarge, match=r"vs\. 1000"),
    ):
        client.embed_query("mug")
