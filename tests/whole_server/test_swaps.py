"""Generations change while clients call a real server: no request fails, and no reply mixes generations."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput

from shopwindow.cli.server.show import is_served
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.errors import NotServed
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.index.serving_processes import served_by
from shopwindow.retrieval.live.awaiting_servers import wait_until_served
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import GenerationGone, Results, RetrievalClient, ServerNotReady
from tests.ranking import assert_same_ranking
from tests.retrieval.live.eventually import eventually
from tests.server.stranger import Refused, ask, texts
from tests.whole_server.generations import Spoil, flip, publish, truncate
from tests.whole_server.other_towers import swapped_towers

TITLES = [
    f"{colour} {kind}" for colour in ("red", "blue", "green", "black") for kind in ("mug", "dress", "bag", "lamp")
]
QUERIES = ["red mug", "black dress", "a green lamp"]
TOP_K = 5
WAIT_S = 120
# The processes that follow the index home: retrieve, retrieve_similar, product_index, embed_query, embed_product.
PROCESSES = 5


@pytest.fixture(scope="module")
def towers(repository: Path) -> InProcessPipeline:
    return InProcessPipeline(repository)


@pytest.fixture(scope="module")
def home(towers: InProcessPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("swaps") / "home"
    publish(home, TITLES, 1_000, towers)
    return home


@pytest.fixture(scope="module")
def server(repository: Path, home: Path) -> Iterator[TritonServer]:
    options = ServerOptions(
        repository=repository, index=home, host="127.0.0.1", http_port=0, grpc_port=0, metrics_port=0
    )
    with TritonServer(options) as server:
        yield server


@dataclass
class Load:
    """Clients that keep calling `retrieve` and `retrieve_similar`, and store the replies."""

    url: str
    replies: list[tuple[str, int, np.ndarray, np.ndarray]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._done = threading.Event()
        models = ("retrieve", "retrieve", "retrieve_similar")
        self._pool = ThreadPoolExecutor(len(models))
        self._callers = [self._pool.submit(self._call, model) for model in models]
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._pool.shutdown()
        for caller in self._callers:
            caller.result()  # a failed assertion fails the test

    def _call(self, model: str) -> None:
        inputs = {"query": texts(*QUERIES)}
        if model == "retrieve_similar":
            inputs = {"title": texts(*QUERIES), "image": texts(*[b""] * len(QUERIES))}
        tensors = [
            InferInput(name, list(array.shape), "BYTES").set_data_from_numpy(array) for name, array in inputs.items()
        ]
        with InferenceServerClient(self.url) as client:
            while not self._done.is_set():
                try:
                    reply = client.infer(model, tensors, parameters={"top_k": TOP_K}, client_timeout=60)
                except Exception as error:
                    self.failures.append(f"{model}: {error}")
                    continue
                ids, scores, generation = map(reply.as_numpy, ("product_ids", "scores", "generation"))
                assert len(set(generation.ravel().tolist())) == 1
                self.replies.append((model, int(generation[0, 0]), ids, scores))

    def check(self, expected: dict[int, InProcessPipeline]) -> Counter[int]:
        """Check that no request failed and each reply is the answer of the generation that it names. Count replies."""
        assert not self.failures, self.failures[:3]
        answers = {}
        for generation, pipeline in expected.items():
            answers[("retrieve", generation)] = pipeline.retrieve(QUERIES, top_k=TOP_K)
            nothing = [b""] * len(QUERIES)
            answers[("retrieve_similar", generation)] = pipeline.retrieve_similar(QUERIES, nothing, top_k=TOP_K)
        for model, generation, ids, scores in self.replies:
            answer = answers[(model, generation)]
            assert_same_ranking(ids, scores, answer.product_ids, answer.scores)
        return Counter(generation for _, generation, _, _ in self.replies)


def rolled_back(home: Path) -> int:
    with IndexHome(home).writing():
        return IndexHome(home).rollback().generation


def check_next_page(client: RetrievalClient, first: Results, now: InProcessPipeline) -> None:
    """Check that the page after `first` is refused if it must be of the same generation, and else is of another one."""
    assert first.generation is not None and len(set(first.generation)) == 1
    pinned = {"offset": TOP_K, "generation": int(first.generation[0])}
    gone = f"generation: {first.generation[0]} is not served here, but {now.index.manifest.generation} is"
    for search in (
        lambda: client.retrieve(QUERIES, top_k=TOP_K, **pinned),
        lambda: client.retrieve_similar(title=QUERIES[0], top_k=TOP_K, **pinned),
        lambda: client.retrieve_like(int(first.ids[0, 0]), top_k=TOP_K, **pinned),  # that product is gone too
    ):
        with pytest.raises(GenerationGone, match=gone):
            search()
    second, expected = client.retrieve(QUERIES, top_k=TOP_K, offset=TOP_K), now.retrieve(QUERIES, top_k=2 * TOP_K)
    assert_same_ranking(second.ids, second.scores, expected.product_ids[:, TOP_K:], expected.scores[:, TOP_K:])


def test_swaps_and_rollbacks_under_load(
    home: Path, server: TritonServer, towers: InProcessPipeline, repository: Path
) -> None:
    """Generations have different ids and vectors, so that a mixed reply would be noticed."""
    expected = {1: InProcessPipeline(repository, IndexHome(home).folder(1))}
    with Load(server.grpc_url) as load, RetrievalClient(server.grpc_url, timeout_s=20.0, retry=None) as client:
        first = client.retrieve(QUERIES, top_k=TOP_K, offset=0)
        for swap in range(6):
            generation = publish(home, TITLES[swap % 3 :], 1_000 * (swap + 2), towers)
            expected[generation] = InProcessPipeline(repository, IndexHome(home).folder(generation))
            assert wait_until_served(home, generation, WAIT_S) == PROCESSES
            if swap == 0:
                check_next_page(client, first, expected[generation])
            if swap % 2:
                assert wait_until_served(home, rolled_back(home), WAIT_S) == PROCESSES
    answered = load.check(expected)
    assert len(answered) > 3  # the clients did see the changes
    assert {process.generation for process in served_by(home)} == {IndexHome(home).pointer.generation}  # type: ignore[union-attr]


def refusals(server: TritonServer) -> set[tuple[str, str]]:
    """Return which models refuse a generation, by the metrics, and why."""
    with urllib.request.urlopen(server.metrics_url) as page:
        text = page.read().decode()
    found = re.findall(r"^shopwindow_index_refused\{(.*)\} 1", text, re.MULTILINE)
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', each)) for each in found]
    return {(each["model"], each["reason"]) for each in labels}


BROKEN: list[tuple[Spoil, str | None, str, str]] = [
    (truncate("index.faiss"), None, "index.faiss", "incomplete"),
    (flip("product_ids.npy"), None, "product_ids.npy: is not what was written", "changed"),
    (lambda folder: None, "beef" * 16, "was filled by towers beefbeefbeef", "towers"),
]


@pytest.mark.parametrize(
    ("spoil", "tower_hash", "reason", "kind"), BROKEN, ids=["truncated", "changed", "other towers"]
)
def test_a_broken_generation_is_refused_with_a_reason_and_the_old_one_answers(
    home: Path,
    server: TritonServer,
    towers: InProcessPipeline,
    repository: Path,
    spoil: Spoil,
    tower_hash: str | None,
    reason: str,
    kind: str,
) -> None:
    served = IndexHome(home).pointer
    assert served is not None
    expected = {served.generation: InProcessPipeline(repository, home)}
    with Load(server.grpc_url) as load:
        bad = publish(home, TITLES, 500, towers, spoil=spoil, tower_hash=tower_hash)
        with pytest.raises(NotServed, match=f"(?s)refused by .*serves generation {served.generation}: .*{reason}"):
            wait_until_served(home, bad, WAIT_S)
        assert eventually(
            lambda: refusals(server) == {("product_index", kind), ("retrieve", kind), ("retrieve_similar", kind)}
        )
        assert wait_until_served(home, rolled_back(home), WAIT_S) == PROCESSES
        assert eventually(lambda: refusals(server) == set())
    load.check(expected)
    assert "is refused" in server.log_tail(200)


def test_a_server_switches_to_other_towers_with_their_index_and_back_under_load(
    home: Path,
    server: TritonServer,
    towers: InProcessPipeline,
    repository: Path,
    tmp_path: Path,
) -> None:
    others = swapped_towers(repository, tmp_path / "model_repository")
    own, theirs = towers.embed_query(QUERIES), InProcessPipeline(others).embed_query(QUERIES)
    assert np.abs(own - theirs).max() > 0.1
    first = publish(home, TITLES, 20_000, towers)
    assert wait_until_served(home, first, WAIT_S) == PROCESSES
    expected = {first: InProcessPipeline(repository, IndexHome(home).folder(first))}
    with Load(server.grpc_url) as load:
        second = publish(home, TITLES, 30_000, InProcessPipeline(others), carried=others)
        expected[second] = InProcessPipeline(others, IndexHome(home).folder(second))
        assert wait_until_served(home, second, WAIT_S) == PROCESSES
        embedding = ask(server, "embed_query", {"query": texts(*QUERIES)})["embedding"]
        np.testing.assert_allclose(embedding, theirs, atol=1e-5)
        found = ask(server, "product_index", {"embedding": embedding}, parameters={"top_k": TOP_K})
        answer = expected[second].retrieve(QUERIES, top_k=TOP_K)
        assert_same_ranking(found["product_ids"], found["scores"], answer.product_ids, answer.scores)
        with RetrievalClient(server.grpc_url, timeout_s=20.0) as client:  # so the command line can show titles
            assert is_served(home, client) and not is_served(IndexHome(home).folder(first), client)
            assert client.info().tower_hash == Bundle.read(others).tower_hash != towers.bundle.tower_hash
        assert wait_until_served(home, rolled_back(home), WAIT_S) == PROCESSES
        np.testing.assert_allclose(ask(server, "embed_query", {"query": texts(*QUERIES)})["embedding"], own, atol=1e-5)
    assert set(load.check(expected)) == {first, second}


def test_embeddings_of_other_towers_than_the_served_index_has_are_refused(
    home: Path, server: TritonServer, towers: InProcessPipeline, repository: Path, tmp_path: Path
) -> None:
    others = swapped_towers(repository, tmp_path / "model_repository")
    query, theirs = {"query": texts("red mug")}, InProcessPipeline(others)

    def embedded() -> tuple[np.ndarray, str]:
        answer = ask(server, "embed_query", query, outputs=["embedding", "towers"])
        return answer["embedding"], answer["towers"][0, 0].decode()

    def search(embedding: np.ndarray, towers: str) -> np.ndarray:
        parameters = {"top_k": TOP_K, "towers": towers}
        return ask(server, "product_index", {"embedding": embedding}, parameters=parameters)["product_ids"]

    first = publish(home, TITLES, 40_000, towers)
    assert wait_until_served(home, first, WAIT_S) == PROCESSES
    embedding, name = embedded()
    assert name == towers.bundle.tower_hash
    assert search(embedding, name).shape == (1, TOP_K)
    bad = publish(home, TITLES, 50_000, theirs, carried=others, spoil=flip("index.faiss"))
    with pytest.raises(NotServed, match="refused by"):
        wait_until_served(home, bad, WAIT_S)
    deadline = time.monotonic() + WAIT_S
    while embedded()[1] != theirs.bundle.tower_hash:
        assert time.monotonic() < deadline
    embedding, name = embedded()
    np.testing.assert_allclose(embedding, theirs.embed_query(["red mug"]), atol=1e-5)
    with pytest.raises(Refused, match=f"not ready: these embeddings were made by towers '{name[:12]}'") as refused:
        search(embedding, name)
    assert "UNAVAILABLE" in refused.value.status
    with (
        RetrievalClient(server.grpc_url, timeout_s=20.0, retry=None) as client,
        pytest.raises(ServerNotReady, match=towers.bundle.tower_hash[:12]) as not_ready,
    ):
        client.retrieve_by_embedding(embedding, top_k=TOP_K, towers=name)
    assert not_ready.value.retryable
    assert wait_until_served(home, rolled_back(home), WAIT_S) == PROCESSES
    embedding, name = embedded()
    assert search(embedding, name).shape == (1, TOP_K)
