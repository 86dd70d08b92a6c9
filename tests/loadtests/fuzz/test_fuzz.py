"""A slice of `make fuzz` against a real `shopwindow serve`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shopwindow.server.processes import kill
from shopwindow_loadtests.fuzz.report import summary
from shopwindow_loadtests.fuzz.run import SETTINGS, Run, models_of
from shopwindow_loadtests.fuzz.state import State
from shopwindow_loadtests.soak.watched_server import WatchedServer

SEED, SLICE, MORE = 1, 3_000, 300


@pytest.fixture(scope="module")
def server(repository: Path, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    log = tmp_path_factory.mktemp("fuzz") / "triton.log"
    with WatchedServer(repository, index, log, SETTINGS) as server:
        yield server


def fuzz(server: WatchedServer, state: State, requests: int, file: Path) -> None:
    Run(server, models_of(server), state, requests, connections=8, file=file, show=lambda line: None).run()


@pytest.fixture(scope="module")
def fuzzed(server: WatchedServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[State, Path]:
    """The state after the slice, and its file."""
    state, file = State(seed=SEED), tmp_path_factory.mktemp("state") / "state.json"
    fuzz(server, state, SLICE, file)
    return state, file


def test_a_slice_of_requests_breaks_no_rule(fuzzed: tuple[State, Path]) -> None:
    state, _ = fuzzed
    assert not state.findings, summary(state, SLICE)
    assert state.done == sum(state.outcomes.values()) == SLICE
    assert state.outcomes["inference: OK"] > 30
    assert state.outcomes["inference: INVALID_ARGUMENT"] > 100
    assert state.compared > 30


def test_a_run_goes_on_where_it_was(server: WatchedServer, fuzzed: tuple[State, Path]) -> None:
    _, file = fuzzed
    state = State.read(file)
    assert state.done == SLICE
    fuzz(server, state, SLICE + MORE, file)
    assert State.read(file).done == sum(state.outcomes.values()) == SLICE + MORE


def test_a_process_that_dies_is_found_and_the_run_goes_on(server: WatchedServer, tmp_path: Path) -> None:
    state = State(seed=SEED)
    victim = next(stub.pid for stub in server.stubs if stub.model == "query_tokenizer")

    def strike() -> None:
        while state.outcomes.total() < MORE // 10:
            time.sleep(0.05)
        kill(victim)

    killer = threading.Thread(target=strike)
    killer.start()
    fuzz(server, state, MORE, tmp_path / "state.json")
    killer.join()
    assert state.done == MORE
    found = {one.text: one for one in state.findings.values() if one.invariant == "the server stays up"}
    assert found["ended: query_tokenizer"].numbers
    # Until the model is there again, a look at the server's health may find that, too.
    assert set(found) <= {"ended: query_tokenizer", "the health endpoint says that the server is not ready"}
