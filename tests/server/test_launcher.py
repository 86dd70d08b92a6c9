"""The launcher on a real tritonserver: what it starts works, and what it stops is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

from shopwindow.server import (
    EnvironmentUnfit,
    PortInUse,
    ServerFailedToStart,
    ServerOptions,
    ServingError,
    TritonNotFound,
    TritonServer,
    find_tritonserver,
)
from shopwindow.server.install import check_numpy
from shopwindow.server.ports import choose_ports

ROOT = Path(__file__).parents[2]

# Multiplies by the factor in its configuration, tells where it runs, and loads once its folder has no `hold`.
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
    """A model that doubles in its plain configuration and triples in the CPU profile."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(code)
    (folder / "config.pbtxt").write_text(CONFIG.replace("FACTOR", "2"))
    (folder / "configs").mkdir()
    (folder / "configs" / "cpu.pbtxt").write_text(CONFIG.replace("FACTOR", "3"))
    return folder


def options(repository: Path, **changes: Any) -> ServerOptions:
    defaults: dict[str, Any] = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_port": 0}
    return ServerOptions(repository=repository, **defaults | changes)


def ask(server: TritonServer, value: float = 21.0) -> tuple[float, dict[str, str | None]]:
    """Sends one number through the model; returns what came back and where the model runs."""
    x = grpcclient.InferInput("x", [1], "FP32")
    x.set_data_from_numpy(np.array([value], dtype=np.float32))
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        reply = client.infer("scale", [x], client_timeout=30)
    return float(reply.as_numpy("y")[0]), json.loads(reply.as_numpy("about")[0])


def ports_of(server: TritonServer) -> dict[str, int]:
    """The ports of a server under the names of their options."""
    urls = {"http_port": server.http_url, "grpc_port": server.grpc_url, "metrics_port": server.metrics_url}
    return {name: int(url.removesuffix("/metrics").rpartition(":")[2]) for name, url in urls.items()}


def processes_of(repository: Path) -> list[int]:
    """Ids of the live processes, server or stub, whose command line names the repository."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(repository).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def shared_memory(owner: int) -> list[str]:
    """Shared memory regions of the servers that a process started."""
    return [region.name for region in Path("/dev/shm").glob(f"shopwindow-{owner}-*")]


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("running")
    write_model(folder / "models")
    # A setting of the user's own wins over `threads`, so this test's environment must not have one.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)
        with TritonServer(options(folder / "models", index=folder / "index")) as server:
            yield server


def test_answers_with_the_cpu_profile(running: TritonServer) -> None:
    assert ask(running)[0] == 63.0


def test_models_run_in_this_environment(running: TritonServer) -> None:
    index = running.options.index
    assert ask(running)[1] == {"prefix": sys.prefix, "SHOPWINDOW_INDEX": str(index), "OMP_NUM_THREADS": "1"}


def test_tells_its_addresses_and_version(running: TritonServer) -> None:
    with urllib.request.urlopen(running.metrics_url, timeout=5) as reply:
        assert b"nv_inference_count" in reply.read()
    with httpclient.InferenceServerClient(running.http_url) as client:
        assert client.is_server_ready()
    assert len(set(ports_of(running).values())) == 3
    assert running.version.startswith("2.")
    assert running.poll() is None
    assert "Started GRPCInferenceService" in running.log_tail(200)


def test_refuses_a_taken_port(running: TritonServer) -> None:
    taken = ports_of(running)["grpc_port"]
    second = TritonServer(options(running.options.repository, grpc_port=taken))
    with pytest.raises(PortInUse, match=rf"--grpc-port: port {taken} "):
        second.start()
    assert ask(running)[0] == 63.0


def test_does_not_start_twice_nor_wait_for_what_was_not_started(running: TritonServer) -> None:
    with pytest.raises(ServingError, match="not running; start"):
        TritonServer(running.options).wait_until_ready()
    with pytest.raises(ServingError, match="running already"):
        running.start()


def test_gpu_profile_is_the_plain_configuration_and_stop_leaves_nothing(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    log_file = tmp_path / "server.log"
    before = shared_memory(os.getpid())
    with TritonServer(options(tmp_path / "models", profile="gpu", log_file=log_file)) as server:
        assert ask(server)[0] == 42.0
        assert server.pid in processes_of(tmp_path)
        assert len(processes_of(tmp_path)) == 2  # the server and one stub
        assert len(shared_memory(os.getpid())) > len(before)
        ports = ports_of(server)

    assert processes_of(tmp_path) == []
    assert shared_memory(os.getpid()) == before
    assert choose_ports("127.0.0.1", ports) == ports  # raises when one is not free
    assert "Signal (15) received" in log_file.read_text()
    assert "Signal (15) received" in server.log_tail(200)
    server.stop()  # once more does no harm


def test_starts_again_after_a_stop(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    server = TritonServer(options(tmp_path / "models"))
    for _ in range(2):
        with server:
            assert ask(server)[0] == 63.0


def test_a_server_that_hangs_is_killed_with_its_stubs(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    before = shared_memory(os.getpid())
    with TritonServer(options(tmp_path / "models", stop_timeout_s=0.5)) as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert processes_of(tmp_path) == []
    assert shared_memory(os.getpid()) == before


def test_a_failing_model_is_named_with_its_exception(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    broken = MODEL.replace("self.factor =", "raise RuntimeError('no index: build one'); self.factor =")
    write_model(tmp_path / "models", "broken", broken)
    server = TritonServer(options(tmp_path / "models"))
    with pytest.raises(ServerFailedToStart, match="RuntimeError: no index: build one") as failure, server:
        pass
    assert "failed to load 'broken'" in str(failure.value)
    assert "CudaDriverHelper" not in str(failure.value)  # harmless, and logged as an error at each start
    assert processes_of(tmp_path) == []
    assert "failed to load 'broken'" in server.log_tail(200)


def test_a_model_that_hangs_the_server_fails_before_the_time_is_up(tmp_path: Path) -> None:
    (write_model(tmp_path / "models") / "1" / "model.py").unlink()
    server = TritonServer(options(tmp_path / "models"))
    with pytest.raises(ServerFailedToStart, match="Python model file not found") as failure, server:
        pass
    assert "ready_timeout_s" not in str(failure.value)
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ('backend: "python" inptu []', 'has no field named "inptu"'),
        (CONFIG + "max_batch_size: 4 dynamic_batching { preferred_batch_size: [9] }", "preferred size must"),
    ],
)
def test_a_wrong_configuration_is_explained(tmp_path: Path, config: str, reason: str) -> None:
    (write_model(tmp_path / "models") / "config.pbtxt").write_text(config)
    server = TritonServer(options(tmp_path / "models", profile="gpu"))
    with pytest.raises(ServerFailedToStart, match=reason), server:
        pass


def test_a_model_without_a_version_folder_is_explained(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "models")
    (folder / "1").rename(folder / "first")
    server = TritonServer(options(tmp_path / "models"))
    with pytest.raises(ServerFailedToStart, match="'scale': at least one version must be available"), server:
        pass


def test_a_wrong_argument_is_explained(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    server = TritonServer(options(tmp_path / "models", extra_args=("--nonsense",)))
    with pytest.raises(ServerFailedToStart, match="unrecognized option '--nonsense'"), server:
        pass


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerFailedToStart, match=f"repository: {tmp_path} holds no model folders"):
        TritonServer(options(tmp_path)).start()


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    with pytest.raises(ServerFailedToStart, match=r"profile: no model of .* has a configs/cpuu\.pbtxt"):
        TritonServer(options(tmp_path / "models", profile="cpuu")).start()


def test_the_log_of_the_last_run_is_kept(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    log_file = tmp_path / "server.log"
    log_file.write_text("the last run's end")
    with TritonServer(options(tmp_path / "models", log_file=log_file)):
        pass
    assert (tmp_path / "server.log.1").read_text() == "the last run's end"
    assert "Started GRPCInferenceService" in log_file.read_text()


def test_shared_memory_of_dead_starters_is_removed_and_of_living_ones_kept(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    stale, living = (Path(f"/dev/shm/shopwindow-{pid}-x") for pid in (dead.pid, os.getpid()))
    try:
        stale.touch()
        living.touch()
        with TritonServer(options(tmp_path / "models")):
            pass
        assert not stale.exists()
        assert living.exists()
    finally:
        stale.unlink(missing_ok=True)
        living.unlink(missing_ok=True)


def test_a_proxy_in_the_environment_is_not_asked_for_its_own_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "models")
    [port] = choose_ports("127.0.0.1", {"--proxy": 0}).values()  # nothing listens there
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with TritonServer(options(tmp_path / "models")) as server:
        assert server.version


def test_another_server_on_its_ports_does_not_count_as_ready(tmp_path: Path) -> None:
    """While one server still loads, another takes its ports and serves a model of the same name."""
    write_model(tmp_path / "other")
    (write_model(tmp_path / "models") / "hold").touch()
    slow = TritonServer(options(tmp_path / "models", ready_timeout_s=1))
    slow.start()
    try:
        with TritonServer(options(tmp_path / "other", **ports_of(slow))):
            with pytest.raises(ServerFailedToStart, match=r"ready_timeout_s=1: another server, 'shopwindow-"):
                slow.wait_until_ready()
            assert processes_of(tmp_path / "models") == []  # stopped in the middle of loading
    finally:
        slow.stop()


def test_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    server = TritonServer(options(tmp_path / "models"))
    starter = threading.Thread(target=server.__enter__)
    starter.start()
    thread = Path(f"/proc/self/task/{starter.native_id}")
    starter.join()
    # join() returns a little before the kernel is done with a thread, and with the processes tied to it.
    eventually(lambda: not thread.exists(), "the starting thread ended")
    try:
        assert ask(server)[0] == 63.0
        assert "Signal (15) received" not in server.log_tail(200)
    finally:
        server.stop()


def test_a_killed_parent_leaves_nothing_running(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    code = (
        "import sys; from pathlib import Path; from serving import ServerOptions, TritonServer\n"
        "ports = dict(http_port=0, grpc_port=0, metrics_port=0)\n"
        "options = ServerOptions(repository=Path(sys.argv[1]), host='127.0.0.1', **ports)\n"
        "with TritonServer(options) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "models")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())  # printed once it is ready
        assert server in processes_of(tmp_path)
        assert shared_memory(parent.pid)
        parent.kill()
    eventually(lambda: processes_of(tmp_path) == [], "server and stubs ended")
    eventually(lambda: shared_memory(parent.pid) == [], "their shared memory was removed")


def test_ports_left_open_differ_and_a_port_asked_for_twice_is_refused() -> None:
    chosen = choose_ports("127.0.0.1", {"--http-port": 0, "--grpc-port": 0, "--metrics-port": 0})
    assert len(set(chosen.values())) == 3
    port = chosen["--http-port"]
    with pytest.raises(PortInUse, match=f"--grpc-port: port {port} "):
        choose_ports("127.0.0.1", {"--http-port": port, "--grpc-port": port})


@pytest.mark.parametrize("version", ["2.0.0", "2.4.1"])
def test_refuses_a_numpy_that_the_stub_reads_as_empty(tmp_path: Path, version: str) -> None:
    write_numpy(tmp_path, version)
    with pytest.raises(EnvironmentUnfit, match=rf"numpy<2, got {version}"):
        check_numpy([str(tmp_path)])


def test_accepts_numpy_1_and_misses_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match="none found"):
        check_numpy([str(tmp_path)])
    write_numpy(tmp_path, "1.26.4")
    check_numpy([str(tmp_path)])


def write_numpy(site_packages: Path, version: str) -> None:
    """The part of an installed numpy that tells its version."""
    metadata = site_packages / f"numpy-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: numpy\nVersion: {version}\n")


def test_a_tritonserver_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "tritonserver"
    binary.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    install = find_tritonserver()
    assert (install.binary, install.source, install.backend_directory) == (binary, "path", None)


def test_says_what_to_install_when_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(TritonNotFound, match="pip install nvidia-pytriton"):
        find_tritonserver()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grpc_port", 65536),
        ("http_port", -1),
        ("ready_timeout_s", 0),
        ("stop_timeout_s", -1.0),
        ("threads", 0),
        ("profile", "a b"),
    ],
)
def test_options_name_the_field_that_is_wrong(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{field} must be .*{value}"):
        options(tmp_path, **{field: value})
