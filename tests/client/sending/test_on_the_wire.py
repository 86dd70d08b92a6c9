"""What the client sends besides the request: ids, traces, headers, deadlines. A relay before a real server sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc.service_pb2 import ModelInferRequest

from shopwindow.server import TritonServer
from shopwindow_client import InvalidRequest, MessageTooLarge, Part, Product, RetrievalClient, SearchOptions

LIMIT = 100_000  # the largest message that the relay takes, in bytes
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class Relay(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Hands every call on to a server, and keeps each inference with its metadata and remaining time."""

    channel: Any
    url: str = ""
    seen: list[tuple[ModelInferRequest, dict[str, str], float]] = field(default_factory=list)

    def service(self, handler_call_details: Any) -> Any:
        forward = self.channel.unary_unary(handler_call_details.method)

        def call(message: bytes, context: Any) -> Any:
            if handler_call_details.method.endswith("/ModelInfer"):
                metadata = {key: str(value) for key, value in context.invocation_metadata()}
                self.seen.append((ModelInferRequest.FromString(message), metadata, context.time_remaining()))
            return forward(message, timeout=30)

        return grpc.unary_unary_rpc_method_handler(call)


@pytest.fixture
def relay(served: TritonServer) -> Iterator[Relay]:
    with grpc.insecure_channel(served.grpc_url) as channel:
        relay = Relay(channel)
        server = grpc.server(
            ThreadPoolExecutor(4), handlers=[relay], options=[("grpc.max_receive_message_length", LIMIT)]
        )
        relay.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield relay
        server.stop(None).wait()


def test_a_request_carries_its_id_trace_and_headers(relay: Relay) -> None:
    with RetrievalClient(
        relay.url, timeout_s=60.0, headers={"x-shop": "blue", "x-kind": "client"}, traceparent=lambda: TRACE
    ) as client:
        client.retrieve("red dress", request_id="cart-17", headers={"x-kind": "call"})
        client.retrieve("red dress", traceparent=TRACE.replace("4bf9", "0000"))
    (first, metadata, _), (second, other, _) = relay.seen
    assert first.id == "cart-17"
    assert len(second.id) == 16
    assert (metadata["x-shop"], metadata["x-kind"], metadata["traceparent"]) == ("blue", "call", TRACE)
    assert (other["x-kind"], other["traceparent"]) == ("client", TRACE.replace("4bf9", "0000"))


@pytest.mark.parametrize(
    ("search", "given"),
    [
        ("retrieve", "red dress"),
        ("retrieve_similar", Product("mug")),
        ("retrieve_by_embedding", np.eye(1, 128)),
        ("retrieve_composed", [Part(np.eye(1, 128)[0])]),
        ("retrieve_like", None),  # products that the server finds
    ],
)
def test_every_option_of_a_search_reaches_the_server(relay: Relay, search: str, given: Any) -> None:
    parameters: dict[str, Any] = {"top_k": 3, "effort": 2, "filter": '{"price": {"gt": 0}}', "min_score": 0.125}
    parameters |= {"channels": "embedding", "allow_lower_effort": True}
    if search == "retrieve":  # the other searches have no words
        parameters |= {"channels": "embedding,lexical", "fusion": "weighted:0.5"}
    page: dict[str, Any] = {"fields": ["title"], "facets": {"colour": 3}, "collapse": {"by": "style", "members": 2}}
    page |= {"boost": [{"column": "stock", "add": 0.001}]}
    parameters |= {"facet_over": 40, "offset": 1}
    if search == "retrieve":  # one of the two
        page["sort"] = {"by": "price", "among": 50}
    else:
        parameters["diversity"] = 0.5
    with RetrievalClient(relay.url, timeout_s=60.0) as client:
        server = client.info()
        parameters |= {"towers": server.tower_hash, "generation": server.generation}
        asked = client.retrieve("red dress", top_k=2)[0].products if given is None else given
        relay.seen.clear()
        options: SearchOptions = {"timings": True, "timeout_s": 30.0, "request_id": "cart-17", "traceparent": TRACE}
        options |= {"headers": {"x-shop": "blue"}, "total": True, **parameters, **page}  # type: ignore[typeddict-item]
        assert SearchOptions.__annotations__.keys() - options.keys() <= {"fusion", "sort", "diversity"}
        results = getattr(client, search)(asked, **options)
    assert not {name for name, value in vars(results).items() if value is None} - {"channels", "keys"}
    ((message, metadata, left_s),) = relay.seen
    sent = {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in message.parameters.items()}
    assert {name: json.loads(sent.pop(name)) for name in page} == page
    assert sent.pop("timeout") <= 30_000_000
    assert sent == parameters
    assert (message.id, metadata["traceparent"], metadata["x-shop"]) == ("cart-17", TRACE, "blue")
    assert left_s <= 31  # gRPC rounds it up


def test_the_parts_of_a_long_call_share_its_id_and_deadline(relay: Relay) -> None:
    with RetrievalClient(relay.url, timeout_s=60.0, compression="gzip") as client:
        assert len(client.retrieve(["red dress"] * 130, request_id="all", top_k=2)) == 130
    assert sorted(message.id for message, _, _ in relay.seen) == ["all-0", "all-1", "all-2"]
    for message, _, left_s in relay.seen:
        assert 0 < left_s <= 61  # gRPC sends few digits, rounded up
        assert 0 < message.parameters["timeout"].int64_param <= 60_000_000  # microseconds in the server's queue


def test_the_client_sends_no_parameter_and_asks_for_no_output_that_was_not_requested(relay: Relay) -> None:
    wanted = {"allow_lower_effort": True, "timings": True}
    with RetrievalClient(relay.url, timeout_s=60.0) as client:
        client.retrieve("red dress")
        client.retrieve("red dress", allow_lower_effort=False, timings=False)
        client.retrieve("red dress", **wanted)  # type: ignore[arg-type]
    plain, same, more = (message for message, _, _ in relay.seen)
    outputs = [[output.name for output in message.outputs] for message in (plain, same, more)]
    assert outputs[0] == outputs[1] == ["product_ids", "scores", "product_keys"]
    assert outputs[2] == ["product_ids", "scores", "product_keys", "timings_us", "effort", "generation"]
    assert set(plain.parameters) == set(same.parameters) == {"timeout"}
    assert set(more.parameters) == {"timeout", "allow_lower_effort"}
    assert more.parameters["allow_lower_effort"].bool_param is True


def test_with_synchronised_clocks_every_request_names_the_time_of_its_deadline(relay: Relay) -> None:
    began_ms = int(time.time() * 1e3)
    with RetrievalClient(relay.url, timeout_s=60.0, clocks_synchronised=True) as client:
        client.retrieve_composed([Part("red dress"), Part(Product("mug"))], top_k=2)
        client.retrieve(["red dress"] * 130, top_k=2)
    ended_ms = int(time.time() * 1e3)
    assert [message.model_name for message, _, _ in relay.seen[2:]] == ["product_index"] + ["retrieve"] * 3
    for message, _, _ in relay.seen:
        assert began_ms + 60_000 <= message.parameters["deadline_unix_ms"].int64_param <= ended_ms + 60_000


def test_a_message_too_large_for_a_proxy_is_an_error_and_not_sent_again(relay: Relay) -> None:
    with RetrievalClient(relay.url, timeout_s=60.0) as client:
        with pytest.raises(MessageTooLarge, match=f"vs\\. {LIMIT}.*smaller photos") as caught:
            client.retrieve_similar(image=b"x" * LIMIT)
        assert caught.value.attempts == 1
        assert len(client.retrieve("red dress")) == 1
    assert [message.model_name for message, _, _ in relay.seen] == ["retrieve"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"traceparent": "4bf92f35"}, "traceparent must look like 00-.*got '4bf92f35'"),
        ({"headers": {"X-Shop": "blue"}}, "headers: a name may hold a-z.*got 'X-Shop'"),
        ({"headers": {"x-shop": "bläu"}}, r"headers\['x-shop'\] must be printable ASCII"),
        ({"headers": {"x-shop": "b" * 8_000}}, "headers and token must have at most 8,000 bytes, got 8,038"),
        ({"request_id": 7}, "request_id must be a string, got 7"),
        ({"request_id": "\ud800"}, "request_id cannot be written as UTF-8"),
    ],
)
def test_an_option_that_cannot_be_sent_is_refused(options: dict[str, Any], named: str) -> None:
    with RetrievalClient() as client, pytest.raises(InvalidRequest, match=named):
        client.retrieve("red dress", **options)
