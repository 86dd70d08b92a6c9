"""Starting and stopping a real tritonserver: what it serves, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.http as httpclient

from shopwindow.server import PortInUse, ServerFailedToStart, ServingError, TritonServer
from shopwindow.server.ports import choose_ports
from shopwindow.server.runtime_folder import RuntimeFolder
from tests.server.launching import ask, eventually, options, ports_of, processes_of, shared_memory, write_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server that was started with a dead proxy in the environment."""
    folder = tmp_path_factory.mktemp("running")
    write_model(folder / "models")
    server = TritonServer(options(folder / "models", index=folder / "index"))
    [port] = choose_ports("127.0.0.1", {"--proxy": 0}).values()  # nothing listens on this port
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)  # it would override the option `threads`
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, f"http://127.0.0.1:{port}")
        for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
            patch.delenv(name, raising=False)
        server.start()
        server.wait_until_ready()
    yield server
    server.stop()


def test_the_default_profile_is_cpu(running: TritonServer) -> None:
    assert ask(running)[0] == 63.0


def test_models_run_in_this_python_environment(running: TritonServer) -> None:
    index = running.options.index
    assert ask(running)[1] == {"prefix": sys.prefix, "SHOPWINDOW_INDEX": str(index), "OMP_NUM_THREADS": "1"}


def test_a_server_knows_its_addresses_and_version(running: TritonServer) -> None:
    with urllib.request.urlopen(running.metrics_url, timeout=5) as reply:
        assert b"nv_inference_count" in reply.read()
    with httpclient.InferenceServerClient(running.http_url) as client:
        assert client.is_server_ready()
    assert len(set(ports_of(running).values())) == 3
    assert running.version.startswith("2.")
    assert running.poll() is None
    assert "Started GRPCInferenceService" in running.log_tail(200)


def test_a_proxy_in_the_environment_is_not_used_for_the_own_ports(running: TritonServer) -> None:
    assert running.version  # known once the server was found ready, which happened with the proxy


def test_a_port_in_use_is_refused(running: TritonServer) -> None:
    taken = ports_of(running)["grpc_port"]
    second = TritonServer(options(running.options.repository, grpc_port=taken))
    with pytest.raises(PortInUse, match=rf"--grpc-port: port {taken} "):
        second.start()
    assert ask(running)[0] == 63.0


def test_a_running_server_cannot_be_started_nor_a_stopped_one_awaited(running: TritonServer) -> None:
    with pytest.raises(ServingError, match="not running; start"):
        TritonServer(running.options).wait_until_ready()
    with pytest.raises(ServingError, match="already running"):
        running.start()


def test_the_gpu_profile_is_the_plain_configuration_and_stopping_leaves_nothing(tmp_path: Path) -> None:
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
    assert choose_ports("127.0.0.1", ports) == ports  # it would raise if one were in use
    assert "Signal (15) received" in log_file.read_text()
    assert "Signal (15) received" in server.log_tail(200)
    server.stop()  # a second stop does nothing


def test_a_server_starts_again_after_a_stop_and_keeps_the_previous_log(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    log_file = tmp_path / "server.log"
    log_file.write_text("the end of an earlier log")
    server = TritonServer(options(tmp_path / "models", log_file=log_file))
    with server:
        assert ask(server)[0] == 63.0
    assert (tmp_path / "server.log.1").read_text() == "the end of an earlier log"
    with server:
        assert ask(server)[0] == 63.0
    for log in (log_file, tmp_path / "server.log.1"):
        assert "Started GRPCInferenceService" in log.read_text()


def test_a_server_that_hangs_is_killed_with_its_stubs(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    before = shared_memory(os.getpid())
    with TritonServer(options(tmp_path / "models", stop_timeout_s=0.5)) as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert processes_of(tmp_path) == []
    assert shared_memory(os.getpid()) == before


def test_a_start_removes_what_killed_servers_left_and_keeps_what_living_ones_use(running: TritonServer) -> None:
    leave = "import os; from shopwindow.server.runtime_folder import RuntimeFolder; print(RuntimeFolder().regions)"
    regions = subprocess.run([sys.executable, "-c", leave], capture_output=True, text=True, check=True).stdout.strip()
    # Its process id is in use again, as it soon is in a PID namespace.
    left = Path("/dev/shm") / regions.rpartition("-")[0]
    stale = [left, left.with_name(f"{regions}_triton_python_backend_shm_region_1")]
    living = RuntimeFolder()
    region = living.path.with_name(f"{living.regions}_triton_python_backend_shm_region_1")
    try:
        for path in (stale[1], region):
            path.touch()
        before = shared_memory(os.getpid())
        with pytest.raises(PortInUse):
            TritonServer(options(running.options.repository, **ports_of(running))).start()
        assert not any(path.exists() for path in stale)
        assert shared_memory(os.getpid()) == before
    finally:
        living.close()
        stale[1].unlink(missing_ok=True)
    assert not region.exists()
    assert not living.path.exists()


def test_another_server_on_the_same_ports_does_not_count_as_ready(tmp_path: Path) -> None:
    """While the first server still loads, a second one takes its ports and serves a model of the same name."""
    write_model(tmp_path / "other")
    (write_model(tmp_path / "models") / "hold").touch()
    slow = TritonServer(options(tmp_path / "models", ready_timeout_s=1))
    slow.start()
    try:
        with TritonServer(options(tmp_path / "other", **ports_of(slow))):
            with pytest.raises(ServerFailedToStart, match=r"ready_timeout_s=1: another server, 'shopwindow-"):
                slow.wait_until_ready()
            assert processes_of(tmp_path / "models") == []  # it was stopped while it was loading
    finally:
        slow.stop()


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    server = TritonServer(options(tmp_path / "models"))
    starter = threading.Thread(target=server.__enter__)
    starter.start()
    thread = Path(f"/proc/self/task/{starter.native_id}")
    starter.join()
    # join() returns a little before the kernel has ended the thread and the processes tied to it.
    eventually(lambda: not thread.exists(), "the starting thread ended")
    try:
        assert ask(server)[0] == 63.0
        assert "Signal (15) received" not in server.log_tail(200)
    finally:
        server.stop()


def test_a_killed_parent_leaves_nothing_running_and_its_ports_to_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "models")
    code = (
        "import sys; from pathlib import Path; from shopwindow.server import ServerOptions, TritonServer\n"
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
        inherited = _ports_of_process(server)
        os.kill(server, signal.SIGSTOP)  # it cannot end together with its parent
        parent.kill()
    with TritonServer(options(tmp_path / "models", **inherited)) as next_one:  # it waits until they are free
        assert ask(next_one)[0] == 63.0
    assert "waiting until a killed server gives up port" in capsys.readouterr().out
    eventually(lambda: processes_of(tmp_path) == [], "server and stubs ended")
    eventually(lambda: shared_memory(parent.pid) == [], "their shared memory was removed")


def _ports_of_process(pid: int) -> dict[str, int]:
    """Return the ports in a server's command line by the names of their options."""
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    found = dict(argument.removeprefix("--").split("=", 1) for argument in arguments if "-port=" in argument)
    return {name.replace("-", "_"): int(port) for name, port in found.items()}
