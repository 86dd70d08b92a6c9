"""Small servers that tests may freeze and kill: one model, and a queue with one place."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.retrieval.index.folder import read_index
from shopwindow.server import ServerOptions, TritonServer
from tests.client.sending.harm import BRAKE, end

QUEUE = "dynamic_batching { max_queue_delay_microseconds: 0 default_queue_policy { max_queue_size: 1 } }"


def some_models(repository: Path, target: Path, *models: str) -> Path:
    """Make a repository in `target` with only these models. Tests may change them."""
    whole = target / "whole"  # a model follows the link to it here, and finds the files it is checked against
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
    """A repository with only `product_index`, which takes one request at a time and lets one wait."""
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
    """The options of a small server."""
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
    """The embedding of a product, (dim,) float32."""
    return np.array(read_index(index).vectors[0])


@pytest.fixture(scope="session")
def two_servers(options: dict[str, Any]) -> Iterator[tuple[TritonServer, TritonServer]]:
    """Two small servers. Each test leaves them as they were."""
    one, other = TritonServer(ServerOptions(**options)), TritonServer(ServerOptions(**options))
    with ExitStack() as stack:
        for server in (one, other):  # both load at the same time
            server.start()
            stack.callback(end, server)
        one.wait_until_ready()
        other.wait_until_ready()
        yield one, other


@pytest.fixture
def mute_url() -> Iterator[str]:
    """The address of a listener that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        listener.listen()
        yield f"localhost:{listener.getsockname()[1]}"


@pytest.fixture(scope="session")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two self-signed certificates: the server's, for the name `shop.test`, and a stranger's."""
    folder = tmp_path_factory.mktemp("pems")
    for name in ("server", "stranger"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.test"]
        command += ["-addext", "subjectAltName=DNS:shop.test"]
        command += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run(command, check=True, capture_output=True)
    return folder
