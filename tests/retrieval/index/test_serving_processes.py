"""Live files: publishers see which processes serve an index home, until those die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.errors import NotServed
from shopwindow.retrieval.index.serving_processes import LiveFile, Refusal, served_by
from shopwindow.retrieval.live.awaiting_servers import wait_until_served
from tests.retrieval.live.eventually import eventually
from tests.whole_server.generations import publish


@pytest.fixture
def home(tmp_path: Path, repository: Path) -> Path:
    publish(tmp_path / "home", ["red mug", "blue dress"], 100, InProcessPipeline(repository))
    return tmp_path / "home"


def serve_until_killed(home: Path, ready: Path) -> None:
    file = LiveFile(home, "model")
    file.write(1, None)
    ready.touch()
    signal.pause()


def test_a_serving_process_is_seen_until_it_dies(home: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = multiprocessing.get_context("spawn").Process(target=serve_until_killed, args=(home, ready))
    process.start()
    assert eventually(ready.exists)
    assert [(each.generation, each.refused) for each in served_by(home)] == [(1, None)]
    with pytest.raises(NotServed, match=f"not served after 0.1 s by 1 of 1 processes: .*-{process.pid}-model"):
        wait_until_served_after_publishing(home, 0.1)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert served_by(home) == []
    assert not any((home / "live").glob("*-model.*"))
    assert wait_until_served(home, 1) == 0


def wait_until_served_after_publishing(home: Path, timeout_s: float) -> None:
    current = home / "CURRENT"
    text = current.read_text()
    current.write_text(text.replace('"generation": 1', '"generation": 2'))
    try:
        wait_until_served(home, 2, timeout_s)
    finally:
        current.write_text(text)


def test_a_waiting_publisher_learns_of_refusals_and_of_a_newer_publisher(home: Path) -> None:
    file = LiveFile(home, "model")
    try:
        file.write(1, Refusal(generation=2, reason="too large"))
        with pytest.raises(NotServed, match=r"was refused by .*still serves generation 1: too large"):
            wait_until_served(home, 2)
        with pytest.raises(NotServed, match=r"replaced before all processes served it: CURRENT names 1"):
            wait_until_served(home, 3)
    finally:
        file.close()


def test_a_process_in_an_unknown_state_counts_and_unseen_ones_can_be_expected(home: Path) -> None:
    assert wait_until_served(home, 1) == 0
    with pytest.raises(NotServed, match=r"served by 0 processes, 2 were expected, and no more appeared within 0\.1 s"):
        wait_until_served(home, 1, 0.1, expected=2)
    lock = home / "live" / "other-7-model.lock"
    lock.mkdir(parents=True)  # a folder cannot be opened as a file
    assert [(process.name, process.generation) for process in served_by(home)] == [("other-7-model", None)]
    with pytest.raises(NotServed, match=r"not served after 0\.1 s by 1 of 1 processes: other-7-model"):
        wait_until_served(home, 1, 0.1)


def test_readers_never_take_a_starting_process_for_a_dead_one(home: Path) -> None:
    done = threading.Event()
    readers = [threading.Thread(target=lambda: [served_by(home) for _ in iter(done.is_set, True)]) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(200):
            file = LiveFile(home, "model")
            assert [process.name for process in served_by(home)] == [file.name]
            file.close()
    finally:
        done.set()
        for reader in readers:
            reader.join()
