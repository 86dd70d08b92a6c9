"""A tiny model for tests of the launcher, and looking at the processes and shared memory of a server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient

from shopwindow.server import ServerOptions, TritonServer
from shopwindow.server.processes import all_processes

# Multiplies by the factor in its configuration and reports its environment. It does not load while `hold` exists.
MODEL = """
import json, os, sys, time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.factor = int(json.loads(args["model_config"])["parameters"]["factor"]["string_value"])
        while os.path.exists(os.path.join(args["model_repository"], "hold")):
            time.sleep(0.05)

    def execute(self, requests):
        about = {name: os.environ.get(name) for name in ("SHOPWINDOW_INDEX", "OMP_NUM_THREADS")}
        about = np.array([json.dumps({"prefix": sys.prefix, **about}).encode()], dtype=object)
        responses = []
        for request in requests:
            y = pb_utils.get_input_tensor_by_name(request, "x").as_numpy() * self.factor
            outputs = [pb_utils.Tensor("y", y), pb_utils.Tensor("about", about)]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses
"""

CONFIG = """
backend: "python"
input [{ name: "x", data_type: TYPE_FP32, dims: [-1] }]
output [{ name: "y", data_type: TYPE_FP32, dims: [-1] }, { name: "about", data_type: TYPE_STRING, dims: [1] }]
instance_group [{ kind: KIND_CPU }]
parameters [{ key: "factor", value: { string_value: "FACTOR" } }]
"""


def write_model(repository: Path, name: str = "scale", code: str = MODEL) -> Path:
    """Write a model that doubles in its plain configuration and triples in the profile `cpu`. Return its folder."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(code)
    (folder / "config.pbtxt").write_text(CONFIG.replace("FACTOR", "2"))
    (folder / "configs").mkdir()
    (folder / "configs" / "cpu.pbtxt").write_text(CONFIG.replace("FACTOR", "3"))
    return folder


def options(repository: Path, **changes: Any) -> ServerOptions:
    """Return options for a server on free ports of this machine."""
    defaults: dict[str, Any] = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_port": 0}
    return ServerOptions(repository=repository, **defaults | changes)


def ask(server: TritonServer, value: float = 21.0) -> tuple[float, dict[str, str | None]]:
    """Send one number to the model. Return the answer, and some facts about the model's environment."""
    x = grpcclient.InferInput("x", [1], "FP32")
    x.set_data_from_numpy(np.array([value], dtype=np.float32))
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        reply = client.infer("scale", [x], client_timeout=30)
    return float(reply.as_numpy("y")[0]), json.loads(reply.as_numpy("about")[0])


def ports_of(server: TritonServer) -> dict[str, int]:
    """Return the ports of a server by the names of their options."""
    urls = {"http_port": server.http_url, "grpc_port": server.grpc_url, "metrics_port": server.metrics_url}
    return {name: int(url.removesuffix("/metrics").rpartition(":")[2]) for name, url in urls.items()}


def processes_of(repository: Path) -> list[int]:
    """Return the ids of the processes, server or stub, whose command line contains the repository."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(repository).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def zombies(parent: int) -> list[int]:
    """Return the ids of the children of a process that ended and that it has not reaped."""
    return [pid for pid, status in all_processes() if status.parent == parent and status.state == "Z"]


def shared_memory(owner: int) -> list[str]:
    """Return the names of the shared memory regions of all servers that a process started."""
    return [region.name for region in Path("/dev/shm").glob(f"shopwindow-{owner}-*")]


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)
