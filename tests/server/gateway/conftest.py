"""A small Triton behind gateways, and certificates."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shopwindow.server import TritonServer
from shopwindow.server.gateway import Gateway, GatewayOptions
from tests.server.launching import options, write_model

StartGateway = Callable[..., Gateway]


# Returns the length of each text, and the texts themselves.
TEXTS = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "texts").as_numpy()
            lengths = np.array([len(text) for text in texts.ravel()], dtype=np.int32).reshape(texts.shape)
            outputs = [pb_utils.Tensor("lengths", lengths), pb_utils.Tensor("same", texts)]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses
"""
TEXTS_CONFIG = """
backend: "python"
input [{ name: "texts", data_type: TYPE_STRING, dims: [-1] }]
output [{ name: "lengths", data_type: TYPE_INT32, dims: [-1] }, { name: "same", data_type: TYPE_STRING, dims: [-1] }]
instance_group [{ kind: KIND_CPU }]
"""


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    models = tmp_path_factory.mktemp("models")
    write_model(models)
    texts = write_model(models, "texts", TEXTS)
    for file in (texts / "config.pbtxt", texts / "configs" / "cpu.pbtxt"):
        file.write_text(TEXTS_CONFIG)
    with TritonServer(options(models, behind_gateway=True)) as server:
        yield server


@pytest.fixture(scope="module")
def start_gateway(triton: TritonServer) -> Iterator[StartGateway]:
    """A function that starts a gateway with these options on free ports. It runs until the module's tests end."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Gateway:
            complain = changes.pop("complain", print)
            ports = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
            gateway = Gateway(GatewayOptions(**ports, **changes), triton, complain)
            gateway.start()
            stack.callback(gateway.stop)
            return gateway

        yield start


def write_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a self-signed certificate for `localhost` and 127.0.0.1, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
