"""A Node.js program that knows only the contract and Triton's public protocol gets what the client gets."""

from __future__ import annotations

import base64
import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.server import TritonServer
from shopwindow_client import Product, Results, RetrievalClient
from tests.ranking import assert_same_ranking

FOLDER = Path(__file__).with_name("node")
# npm's codes for a registry that it cannot reach or that refuses it, without a cache. Other codes are our fault.
NO_REGISTRY = re.compile(
    r"code (ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|EHOSTUNREACH|ENETUNREACH"
    r"|ENOTCACHED|E401|E403|E5\d\d)\b"
)

AskFromNode = Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program and its packages."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs Node.js with npm: {' and '.join(missing)} not found")
    folder = tmp_path_factory.mktemp("node")
    for file in FOLDER.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    command = ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund"]
    # With npm's own settings it takes a minute to notice that there is no network.
    command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    try:
        fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("needs a registry for npm ci, or its cache, with the packages of tests/client/node: none in 120 s")
    if fetched.returncode != 0:
        unreached = NO_REGISTRY.search(fetched.stderr)
        assert unreached is not None, fetched.stderr
        pytest.skip(
            f"needs a registry for npm ci, or its cache, with the packages of tests/client/node: {unreached[1]}"
        )
    return folder


@pytest.fixture
def ask_from_node(program: Path, served: TritonServer) -> AskFromNode:
    """Runs the program. It returns {outputs} or {code, message} for each request."""

    def ask(requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        command = ["node", "ask.js", served.grpc_url]
        asked = subprocess.run(
            command, cwd=program, input=json.dumps(requests), capture_output=True, text=True, timeout=120, check=False
        )
        assert asked.returncode == 0, asked.stderr
        answers: list[dict[str, Any]] = json.loads(asked.stdout)
        return answers

    return ask


def text(*values: str | None) -> dict[str, Any]:
    return {"kind": "text", "values": [value or "" for value in values]}


def photos(*values: bytes | None) -> dict[str, Any]:
    return {"kind": "base64", "values": [base64.b64encode(value or b"").decode() for value in values]}


def test_the_program_gets_what_the_client_gets(ask_from_node: AskFromNode, served: TritonServer, shop: Path) -> None:
    products = pq.read_table(shop / "products.parquet").slice(0, 60).to_pylist()
    rng = random.Random(7)
    requests: list[dict[str, Any]] = []
    expected: list[Results] = []
    with RetrievalClient(served.grpc_url, timeout_s=60.0) as client:
        for number in range(24):
            some = rng.sample(products, rng.choice((1, 3, 9)))
            titles = [product["title"] for product in some]
            options: dict[str, Any] = {"top_k": rng.choice((1, 10, 100))}
            if rng.random() < 0.5:
                options |= {"filter": {"price": {"lt": some[0]["price"]}}, "effort": 3, "min_score": 0.25}
            if number % 3 == 0:
                model, inputs = "retrieve", {"query": text(*titles)}
                expected.append(client.retrieve(titles, **options))
            elif number % 3 == 1:
                given = [rng.choice((Product(p["title"], p["image"]), Product(image=p["image"]))) for p in some]
                inputs = {"title": text(*(p.title for p in given)), "image": photos(*(p.image for p in given))}  # type: ignore[misc]
                model = "retrieve_similar"
                expected.append(client.retrieve_similar(given, **options))
            else:
                vectors = client.embed_query(titles)
                model, inputs = "product_index", {"embedding": {"kind": "numbers", "values": vectors.tolist()}}
                expected.append(client.retrieve_by_embedding(vectors, **options))
            sent = {name: json.dumps(value) if name == "filter" else value for name, value in options.items()}
            requests.append({"model": model, "inputs": inputs, "parameters": sent})
    assert any((results.counts < results.ids.shape[1]).any() for results in expected), "no row was padded"
    for answer, results in zip(ask_from_node(requests), expected, strict=True):
        assert "outputs" in answer, answer
        ids = np.array([[int(product) for product in row] for row in answer["outputs"]["product_ids"]])
        scores = np.array([[float(score.lower()) for score in row] for row in answer["outputs"]["scores"]])
        assert_same_ranking(ids, scores, results.ids, results.scores)


def test_the_program_gets_the_errors_of_the_contract(ask_from_node: AskFromNode) -> None:
    words = {"query": text("red dress")}
    many, unknown, empty = ask_from_node(
        [
            {"model": "retrieve", "inputs": words, "parameters": {"top_k": 0}},
            {"model": "retrieve", "inputs": words, "parameters": {"topk": 5}},
            {"model": "retrieve_similar", "inputs": {"title": text(""), "image": photos(None)}, "parameters": {}},
        ],
    )
    assert {answer["code"] for answer in (many, unknown, empty)} == {"INVALID_ARGUMENT"}
    assert "top_k: must be an integer from 1" in many["message"]
    assert "topk: unknown request parameter" in unknown["message"]
    assert "title[0]" in empty["message"]
