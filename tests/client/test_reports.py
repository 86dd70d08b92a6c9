"""What a server reports only on request, or cannot report in an overload. A class in this process plays the server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from shopwindow_client import AsyncRetrievalClient, InProcess, Part, RetrievalClient
from shopwindow_client._in_process import Refused

BOTH = "embedding,lexical"


class Scripted(InProcess):
    """Finds products n and n + 10 for the query n, and nothing more.

    Args:
        refusal: The error message of all models. None: they answer.

    Attributes:
        asked: The model and the requested outputs of each inference.
    """

    def __init__(self, refusal: str | None = None) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.asked: list[tuple[str, list[str]]] = []
        self._refusal = refusal

    def _ModelConfig(self, message: Any) -> Any:
        response = service_pb2.ModelConfigResponse()
        response.config.name = message.name
        response.config.max_batch_size = 2
        response.config.parameters["max_top_k"].string_value = "10000"
        response.config.input.add(name="embedding", dims=[4])
        response.config.output.add(name="towers")
        return response

    def _ModelInfer(self, message: Any) -> Any:
        self.asked.append((message.model_name, [output.name for output in message.outputs]))
        if self._refusal is not None:
            raise Refused(grpc.StatusCode.UNAVAILABLE, self._refusal)
        return super()._ModelInfer(message)

    def _infer(
        self, model: str, inputs: dict[str, Any], parameters: dict[str, Any], outputs: set[str]
    ) -> dict[str, Any]:
        rows = [int(words) for words in next(iter(inputs.values()))[:, 0]]
        return {
            "product_ids": np.array([[row, row + 10, -1] for row in rows]),
            "scores": np.array([[0.9, 0.8, -np.inf]] * len(rows), np.float32),
            "product_keys": np.empty((len(rows), 0), np.object_),
            "channels": np.array([[row % 3 + 1, 1, 0] for row in rows]),
        }


def test_a_long_call_reports_what_found_each_product_in_all_its_parts() -> None:
    async def ask() -> Any:
        async with AsyncRetrievalClient(Scripted()) as client:
            return await client.retrieve(list("01234"), channels=BOTH)

    with RetrievalClient(Scripted()) as client:
        found = client.retrieve(list("01234"), channels=BOTH)
    for results in (found, asyncio.run(ask())):
        assert results.channels.tolist() == [[1, 1, 0], [2, 1, 0], [3, 1, 0], [1, 1, 0], [2, 1, 0]]
        assert results.channels.dtype == np.int64
        assert results.ids[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert found.without([0, 1, 2, 3, 4]).channels.tolist() == [[1, 0, 0]] * 5


@pytest.mark.parametrize(
    ("options", "extra"),
    [
        ({}, []),
        ({"channels": "embedding"}, []),
        ({"channels": " embedding "}, []),
        ({"channels": BOTH}, ["channels"]),
        ({"channels": "lexical"}, ["channels"]),
        ({"channels": BOTH, "fusion": "rrf"}, ["channels"]),
        ({"fusion": "weighted:0.7"}, ["channels"]),
    ],
)
def test_the_client_asks_what_found_each_product_only_if_words_may_have(
    options: dict[str, Any], extra: list[str]
) -> None:
    server = Scripted()
    with RetrievalClient(server) as client:
        found = client.retrieve("7", **options)
    assert server.asked == [("retrieve", ["product_ids", "scores", "product_keys", *extra])]
    assert (found.channels is not None) == bool(extra)


def test_the_client_leaves_it_to_models_without_words_to_refuse_channels() -> None:
    server = Scripted()
    with RetrievalClient(server) as client:
        client.retrieve_similar(title="7", channels=BOTH)
        client.retrieve_by_embedding([7.0], channels=BOTH)
        client.retrieve_composed([Part([7.0])], channels=BOTH)
    assert [outputs for _, outputs in server.asked] == [["product_ids", "scores", "product_keys"]] * 3


@pytest.mark.parametrize("refusal", ["Exceeds maximum queue size", "Request timeout expired"])
def test_in_an_overload_info_returns_what_is_known_without_the_models(refusal: str) -> None:
    server = Scripted(refusal)
    with RetrievalClient(server, retry=None) as client:
        info = client.info()
    assert (info.name, info.max_batch_size, info.max_top_k, info.embedding_dim) == ("in process", 2, 10000, 4)
    assert info.generation is info.tower_hash is None
    assert {model for model, _ in server.asked} == {"product_index", "embed_query"}
