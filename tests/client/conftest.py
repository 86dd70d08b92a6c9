"""Servers to do harm to: small, of one model, with a queue of one place."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.retrieval.index.folder import read_index
from shopwindow.server import ServerOptions, TritonServer
from tests.client.sending.harm import BRAKE, kill

QUEUE = "dynamic_batching { max_queue_delay_microseconds: 0 default_queue_policy { max_queue_size: 1 } }"


def some_models(repository: Path, target: Path, *models: str) -> Path:
    """A repository in `target` that has only these models, which may be changed."""
    whole = target / "whole"  # where a model finds, through the link to it, what it is checked by
    whole.mkdir()
    for entry in repository.iterdir():
        if entry.name not in models:
            (whole / entry.name).symlink_to(entry)
    folder = target / "model_repository"
    folder.mkdir()
    for model in models:
        shutil.copytree(repository / model, whole / model, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / model).symlink_to(whole / model)
    return folder


@pytest.fixture(scope="session")
def small_repository(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`product_index` alone, in one instance: takes one request at a time and keeps one waiting."""
    folder = some_models(repository, tmp_path_factory.mktemp("small"), "product_index")
    config = folder / "product_index" / "configs" / "cpu.pbtxt"
    text = config.read_text()
    assert "dynamic_batching { }" in text
    text = text.replace("dynamic_batching { }", QUEUE).replace("max_batch_size: 64", "max_batch_size: 1")
    config.write_text(text)
    with (folder / "product_index" / "1" / "model.py").open("a") as model:
        model.write(BRAKE)
    return folder


@pytest.fixture(scope="session")
def options(small_repository: Path, index: Path) -> dict[str, Any]:
    """What starts a small server."""
    return {
        "repository": small_repository,
        "index": index,
        "host": "127.0.0.1",
        "http_port": 0,
        "grpc_port": 0,
        "metrics_port": 0,
        "stop_timeout_s": 2.0,
    }


@pytest.fixture(scope="session")
def embedding(index: Path) -> np.ndarray:
    """A product's own embedding, (dim,) float32."""
    return np.array(read_index(index).vectors[0])


@pytest.fixture(scope="session")
def twins(options: dict[str, Any]) -> Iterator[tuple[TritonServer, TritonServer]]:
    """Two small servers, whole after each test."""
    with TritonServer(ServerOptions(**options)) as one, TritonServer(ServerOptions(**options)) as other:
        yield one, other
        kill(one)  # nothing is left to finish
        kill(other)


@pytest.fixture(scope="session")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates that signed themselves: the server's, for the name `shop.test`, and a stranger's."""
    folder = tmp_path_factory.mktemp("pems")
    for name in ("server", "stranger"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.test"]
        command += ["-addext", "subjectAltName=DNS:shop.test"]
        command += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run(command, check=True, capture_output=True)
    return folder
