"""The time of a request's stages in replies, metrics and traces; and requests that are too late."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import ServerOptions, TritonServer
from tests.ranking import assert_same_ranking
from tests.server.stranger import Refused, ask, executions, texts
from tests.server.watching import metric, until
from tests.whole_server.other_towers import copied

CALLER = "b7ad6b7169203331"
SLOW_TOP_K, EFFORT = 13, 7  # no other request here uses this effort
BROKEN_TOP_K = 17
# Code added to the fused model. One value of top_k makes a search slow, twice as slow with each step of effort. Another
# value makes it fail.
SLOW = f"""

import time

_search = search_channels


def search_channels(index, requests):
    parameters = [request.parameters for request in requests]
    time.sleep(sum(0.01 * 2**each.effort for each in parameters if each.top_k == {SLOW_TOP_K}))
    if any(each.top_k == {BROKEN_TOP_K} for each in parameters):
        raise LookupError("broken")
    return _search(index, requests)
"""


class Collector(BaseHTTPRequestHandler):
    """Receives OTLP over HTTP in JSON, and keeps the spans."""

    spans: list[dict[str, Any]] = []  # noqa: RUF012  there is only one collector

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in body["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                self.spans.extend(scope["spans"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def server(repository: Path, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server with one instance of `retrieve`, which can be made slow. It sends traces to the collector."""
    folder = copied(repository, tmp_path_factory.mktemp("stages") / "model_repository")
    config = folder / "retrieve" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text().replace("count: 2", "count: 1"))
    with (folder / "retrieve" / "1" / "model.py").open("a") as code:
        code.write(SLOW)
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    options = ServerOptions(
        repository=folder,
        index=index,
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        extra_args=("--trace-config=opentelemetry,bsp_schedule_delay=200",),  # milliseconds
    )
    with pytest.MonkeyPatch.context() as environment:
        url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        environment.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
        with TritonServer(options) as started:
            yield started
    collector.shutdown()
    collector.server_close()


def until_batches_are_counted(server: TritonServer) -> None:
    """Wait until the metrics contain every batch of `retrieve` so far. None of them may have been too late."""
    batches = executions(server, "retrieve").execution_count
    until(lambda: metric(server, "batch_rows_count", model="retrieve") == batches)


def retrieve(server: TritonServer, *queries: str, **options: Any) -> dict[str, np.ndarray]:
    return ask(server, "retrieve", {"query": texts(*queries)}, **options)


@pytest.mark.parametrize("model", ["retrieve", "retrieve_similar"])
def test_timings_are_returned_on_request(server: TritonServer, model: str) -> None:
    inputs = {"query": texts("oak shelf", "tea")}
    if model == "retrieve_similar":
        inputs = {"title": texts("oak shelf", "tea"), "image": texts(b"", b"")}
    began = time.perf_counter()
    answer = ask(server, model, inputs, outputs=["product_ids", "timings_us"])
    waited_us = (time.perf_counter() - began) * 1e6
    first, second = answer["timings_us"].tolist()
    assert first == second
    text, tower, search, execute, rows, queue = first
    assert -1 <= queue < waited_us + 1e6  # at most the duration of the previous batch more
    assert rows == 2
    assert min(text, tower, search) > 0
    assert text + tower + search <= execute + 3  # each value is rounded
    assert execute < waited_us
    assert set(ask(server, model, inputs, outputs=["scores"])) == {"scores"}


def test_the_queue_time_of_a_request_covers_its_wait_for_other_searches(server: TritonServer) -> None:
    def queue_of(number: int) -> int:
        parameters = {"top_k": SLOW_TOP_K, "effort": 5}  # 0.32 s
        answer = retrieve(server, f"desk {number}", outputs=["timings_us"], parameters=parameters)
        return int(answer["timings_us"][0, 5])

    with ThreadPoolExecutor(4) as threads:
        numbers = itertools.count()
        # The one instance begins with the first request, unless all four arrive together. Then they are sent again.
        until(lambda: max(threads.map(queue_of, itertools.islice(numbers, 4))) > 250_000)


def test_the_same_stages_are_histograms_on_the_metrics_port(server: TritonServer) -> None:
    def count(stage: str) -> float:
        return metric(server, "stage_seconds_count", model="retrieve", stage=stage)

    stages = ("tokenise", "tower", "search", "execute")
    retrieve(server, "one more")
    until_batches_are_counted(server)
    before = {stage: count(stage) for stage in stages}
    rows_before = metric(server, "batch_rows_sum", model="retrieve")
    total_before = metric(server, "stage_seconds_sum", model="retrieve", stage="execute")
    answers = [retrieve(server, f"a{n}", f"b{n}", f"c{n}", outputs=["timings_us"]) for n in range(4)]
    until(lambda: metric(server, "batch_rows_sum", model="retrieve") == rows_before + 12)
    assert {stage: count(stage) - before[stage] for stage in stages} == dict.fromkeys(stages, 4)
    total = metric(server, "stage_seconds_sum", model="retrieve", stage="execute") - total_before
    assert total == pytest.approx(sum(answer["timings_us"][0, 3] for answer in answers) / 1e6, abs=1e-5)
    assert metric(server, "stage_seconds_bucket", model="retrieve", stage="execute", le="+Inf") == count("execute")

    retrieve(server, "a0")  # its embedding is in the cache, so no tower is called
    until(lambda: count("execute") == before["execute"] + 5)
    assert count("tower") == before["tower"] + 4


def test_generation_and_cache_hits_are_metrics(server: TritonServer) -> None:
    def hits_and_misses() -> list[float]:
        return [metric(server, f"embedding_cache_{name}_total", model="retrieve") for name in ("hits", "misses")]

    generation = int(retrieve(server, "lamp", outputs=["generation"])["generation"][0, 0])
    until(lambda: metric(server, "index_generation", model="retrieve") == generation)
    assert metric(server, "index_generation", model="product_index") == generation
    until_batches_are_counted(server)
    # Each query was a hit or a miss, and so was the query that warmed up the model.
    until(lambda: sum(hits_and_misses()) == metric(server, "batch_rows_sum", model="retrieve") + 1)
    hits, misses = hits_and_misses()
    for query in ("Purple Lamp", "purple lamp ", "PURPLE LAMP", "green lamp"):
        retrieve(server, query)
    until(lambda: hits_and_misses() == [hits + 2, misses + 2])


def test_hits_of_the_result_cache_are_metrics(server: TritonServer) -> None:
    def hits_and_misses() -> list[float]:
        return [metric(server, f"result_cache_{name}_total", model="retrieve") for name in ("hits", "misses")]

    retrieve(server, "oak table")
    until_batches_are_counted(server)
    hits, misses = hits_and_misses()
    for query, top_k in (("oak table", 100), ("Oak Table", 100), ("oak table", 9), ("oak table", 9), ("ash table", 9)):
        retrieve(server, query, parameters={"top_k": top_k})
    until(lambda: hits_and_misses() == [hits + 3, misses + 2])


def test_a_request_of_many_rows_is_answered_in_order_by_several_threads(
    server: TritonServer, pipeline: InProcessPipeline
) -> None:
    queries = [f"{'long ' * (row % 7)}table {row}" for row in range(64)]
    answer = retrieve(server, *queries, outputs=["product_ids", "scores", "timings_us"], parameters={"top_k": 10})
    expected = pipeline.retrieve(queries, top_k=10)
    assert_same_ranking(answer["product_ids"], answer["scores"], expected.product_ids, expected.scores)
    assert set(answer["timings_us"][:, 4].tolist()) == {64}
    until_batches_are_counted(server)


def test_a_request_that_is_too_late_is_not_searched(server: TritonServer) -> None:
    batches, expired = metric(server, "batch_rows_count"), metric(server, "requests_protected_total", event="expired")
    for late in ({"timeout": 1}, {"parameters": {"deadline_unix_ms": int(time.time() * 1e3) - 1_000}}):
        with pytest.raises(Refused, match="Request timeout expired: its deadline passed") as refused:
            retrieve(server, "mug", **late)
        assert refused.value.status == "StatusCode.UNAVAILABLE"
    until(lambda: metric(server, "requests_protected_total", event="expired") == expired + 2)
    assert metric(server, "batch_rows_count") == batches
    in_time = {"deadline_unix_ms": int(time.time() * 1e3) + 60_000}
    assert retrieve(server, "mug", parameters=in_time, timeout=60_000_000)["product_ids"].shape == (1, 100)


def test_the_effort_is_lowered_if_time_is_short_and_the_caller_allows_it(server: TritonServer) -> None:
    def search(**parameters: Any) -> dict[str, np.ndarray]:
        return retrieve(server, "mug", parameters={"top_k": SLOW_TOP_K, "effort": EFFORT, **parameters}, timeout=10**6)

    plain = search()  # it takes 1.3 s, longer than the timeout, but it begins before that
    assert plain["effort"].tolist() == [[EFFORT]]
    hurried = search(allow_lower_effort=True)
    assert 1 <= hurried["effort"][0, 0] < EFFORT
    assert hurried["product_ids"].tolist() == plain["product_ids"].tolist()  # this index is searched exactly
    assert search(allow_lower_effort="false")["effort"].tolist() == [[EFFORT]]
    until(lambda: metric(server, "requests_protected_total", event="effort_lowered") == 1)


def test_a_trace_leads_from_the_caller_to_the_search(server: TritonServer) -> None:
    names = {"InferRequest", "retrieve", "compute", "tokenise", "tower", "search"}

    def spans(trace: str) -> dict[str, list[dict[str, Any]]]:
        found = [span for span in Collector.spans if span["traceId"] == trace]
        return {name: [span for span in found if span["name"] == name] for name in names}

    for attempt in range(5):  # sometimes Triton 2.51 overlooks a traceparent and does not trace the request
        trace = secrets.token_hex(16)
        retrieve(server, f"traced query {attempt}", headers={"traceparent": f"00-{trace}-{CALLER}-01"})
        given_up = time.monotonic() + 20
        while not all((found := spans(trace)).values()) and time.monotonic() < given_up:
            time.sleep(0.02)
        if all(found.values()):
            break
    [request], [model], [search] = (found[name] for name in ("InferRequest", "retrieve", "search"))
    assert request["parentSpanId"] == CALLER
    assert model["parentSpanId"] == request["spanId"]
    assert search["parentSpanId"] == model["spanId"]
    tower = found["tower"][0]
    times = [int(at) for span in (tower, search) for at in (span["startTimeUnixNano"], span["endTimeUnixNano"])]
    assert times == sorted(times)


def test_a_search_that_fails_fails_alone_and_only_the_log_says_why(server: TritonServer) -> None:
    numbers: list[str] = []

    def ask_for(number: int) -> np.ndarray | None:
        try:
            top_k = BROKEN_TOP_K if number % 8 == 3 else 5
            return retrieve(server, f"plate {number}", parameters={"top_k": top_k})["product_ids"]
        except Refused as refused:
            assert refused.status == "StatusCode.INTERNAL"
            numbers.append(re.fullmatch(r"internal error (\w{8}): the server's log .*", refused.message)[1])
            return None

    with ThreadPoolExecutor(25) as threads:
        slow = threads.submit(
            retrieve, server, "desk", parameters={"top_k": SLOW_TOP_K, "effort": 5}
        )  # so that they queue up
        found = list(threads.map(ask_for, range(24)))
        slow.result()
    assert [ids is None for ids in found] == [number % 8 == 3 for number in range(24)]
    reasons = re.findall(r"internal error (\w{8}): (?:.*\n)*?.*LookupError: broken", server.log_tail(10_000))
    assert sorted(reasons) == sorted(numbers)
    for number, ids in enumerate(found):
        if ids is not None:
            again = retrieve(server, f"plate {number}", parameters={"top_k": 5})["product_ids"]
            np.testing.assert_array_equal(ids, again)
