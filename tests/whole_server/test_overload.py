"""A server with more requests than it can answer: correct answers to some, immediate refusals to the others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import (
    InvalidRequest,
    Results,
    RetrievalClient,
    Retry,
    ServerOverloaded,
    ShopwindowError,
    Throttle,
    Throttled,
)
from shopwindow_client._sending.throttling import Throttling
from shopwindow_loadtests.generator import closed_loop as bisect_generator
from shopwindow_loadtests.generator import overload
from shopwindow_loadtests.generator.closed_loop import Connection, Grpc
from tests.server.watching import metric, until
from tests.whole_server.other_towers import copied

CALLERS = 600  # several full batches
SLOW_TOP_K = 13
PATIENT = Retry(attempts=100, budget=1e9, max_pause_s=0.5)
# Code added to each model: searches with one value of top_k become slow.
SLOW = f"""

import time

_answer_of = Searching.answer


def _slowly(self, requests, prepare, embed, search, **known):
    def slow(items):
        time.sleep(sum(0.01 for item in items if item.parameters.top_k == {SLOW_TOP_K}))
        return search(items)

    return _answer_of(self, requests, prepare, embed, slow, **known)


Searching.answer = _slowly
"""


@pytest.fixture(scope="module")
def server(repository: Path, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server with one instance of each model that searches, and a short limit on the wait."""
    folder = copied(repository, tmp_path_factory.mktemp("overload") / "model_repository")
    for model in ("retrieve", "product_index"):
        config = folder / model / "configs" / "cpu.pbtxt"
        config.write_text(config.read_text().replace("count: 2", "count: 1"))
        with (folder / model / "1" / "model.py").open("a") as code:
            code.write(SLOW)
    options = ServerOptions(repository=folder, index=index, host="127.0.0.1", http_port=0, grpc_port=0, metrics_port=0)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SHOPWINDOW_QUEUE_LIMIT_MS", "100")
        with TritonServer(options) as started:
            yield started


def flood(server: TritonServer, model: str, pipeline: InProcessPipeline) -> tuple[int, int]:
    """Let all callers ask at once, each with different words. Check the answers, and count them and the refusals."""
    words = [f"red dress {number}" for number in range(CALLERS)]
    embeddings = pipeline.embed_query(words)

    with (
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=None, max_concurrent=CALLERS) as client,
        ThreadPoolExecutor(CALLERS) as threads,
    ):

        def ask(number: int) -> Results:
            if model == "retrieve":
                return client.retrieve(words[number], top_k=SLOW_TOP_K)
            return client.retrieve_by_embedding(embeddings[number], top_k=SLOW_TOP_K)

        calls = [threads.submit(ask, number) for number in range(CALLERS)]
        errors = [call.exception() for call in calls]
    answered = [number for number, error in enumerate(errors) if error is None]
    assert {type(error) for error in errors if error is not None} <= {ServerOverloaded}
    expected = pipeline.retrieve([words[number] for number in answered], top_k=SLOW_TOP_K)
    for number, scores in zip(answered, expected.scores, strict=True):
        # Compare scores, because products with equal scores may change places with the padding of the batch.
        np.testing.assert_allclose(calls[number].result().scores[0], scores, atol=1e-5)
    return len(answered), CALLERS - len(answered)


@pytest.mark.parametrize("model", ["retrieve", "product_index"])
def test_in_an_overload_requests_are_either_answered_correctly_or_refused(
    server: TritonServer, pipeline: InProcessPipeline, model: str
) -> None:
    def counted() -> float:
        return metric(server, "requests_protected_total", model=model, event="refused")

    before = counted()
    answered, refused = flood(server, model, pipeline)
    assert answered >= 64  # at least the first batch
    assert refused > 0
    until(lambda: counted() - before == refused)
    with RetrievalClient(server.grpc_url, timeout_s=60.0, retry=PATIENT) as client:  # soon all is as before
        assert len(client.retrieve(["mug"] * 200, top_k=3)) == 200
        assert len(client.retrieve_by_embedding(pipeline.embed_query(["mug"] * 200), top_k=3)) == 200


def test_retries_succeed_and_callers_without_pauses_do_not_prolong_the_overload(server: TritonServer) -> None:
    with (
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=None) as hasty,
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=PATIENT) as client,
        ThreadPoolExecutor(CALLERS) as threads,
    ):
        calls = [threads.submit(hasty.retrieve, f"mug {n}", top_k=SLOW_TOP_K) for n in range(CALLERS)]
        texts = {str(error) for call in calls if (error := call.exception()) is not None}
        assert texts
        assert all("waited longer than 100 ms, so some are refused" in text for text in texts)
        assert all(threads.map(lambda n: len(client.retrieve(f"mug {n}", top_k=SLOW_TOP_K)), range(CALLERS)))

        def answered_20_times(number: int) -> bool:
            """Ask without pauses until 20 requests in a row are answered."""
            in_a_row = 0
            while in_a_row < 20:
                try:
                    hasty.retrieve(f"mug {number}", top_k=3)
                    in_a_row += 1
                except ServerOverloaded:
                    in_a_row = 0
            return True

        assert all(threads.map(answered_20_times, range(48)))


def test_throttled_requests_never_reach_the_server(server: TritonServer) -> None:
    def refused() -> float:
        return metric(server, "requests_protected_total", model="retrieve", event="refused")

    before = refused()
    throttle = Throttle(ratio=1.2, window_s=600.0)
    with (
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=None, throttle=throttle) as client,
        ThreadPoolExecutor(CALLERS) as threads,
    ):

        def ask_thrice(number: int) -> list[type[ShopwindowError] | None]:
            outcomes: list[type[ShopwindowError] | None] = []
            for _ in range(3):
                try:
                    client.retrieve(f"mug {number}", top_k=SLOW_TOP_K)
                    outcomes.append(None)
                except ServerOverloaded as error:
                    outcomes.append(type(error))
            return outcomes

        counts = Counter(outcome for outcomes in threads.map(ask_thrice, range(CALLERS)) for outcome in outcomes)
        assert counts.keys() == {None, ServerOverloaded, Throttled}
        until(lambda: refused() - before == counts[ServerOverloaded])
        with pytest.raises(Throttled, match=r"retrieve at .* refused so many requests lately that this"):
            for _ in range(100):
                client.retrieve("mug", top_k=SLOW_TOP_K)


def test_the_load_generator_throttles_like_a_client(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> float:
        return metric(server, "requests_protected_total", model="retrieve", event="refused")

    monkeypatch.setattr(bisect_generator, "TOP_K", SLOW_TOP_K)
    monkeypatch.setattr(overload, "DEADLINE_S", 60.0)  # so that all requests get an answer or a refusal
    before, protocol = refused(), Grpc(timeout_s=60.0)
    messages = [protocol.message([f"lamp {number}"]) for number in range(2_400)]
    wire = protocol.wire(server.grpc_url)
    throttling = Throttling(Throttle(ratio=1.2, window_s=600.0))
    with Connection(server.grpc_url, wire) as connection:
        due = [time.monotonic() + number / 1_200 for number in range(len(messages))]  # several times the possible rate
        report = overload.send(connection, wire, due, messages, throttling)
    errors = Counter(error.split(":")[0] for *_, error in report["outcomes"])
    assert report["held_back"] > 0
    assert len(report["outcomes"]) + report["held_back"] + report["unsent"] == len(messages)
    assert errors["UNAVAILABLE"] > 0
    until(lambda: refused() - before == errors["UNAVAILABLE"])


def test_wrong_requests_do_not_make_a_throttle_hold_back(server: TritonServer) -> None:
    with RetrievalClient(server.grpc_url, timeout_s=60.0, throttle=Throttle(ratio=1.1)) as client:
        for _ in range(100):
            with pytest.raises(InvalidRequest):
                client.retrieve("mug", top_k=0)
        assert len(client.retrieve("mug", top_k=3)) == 1
