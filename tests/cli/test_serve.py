"""`shopwindow serve` as a process: it answers, stops on either signal, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from PIL import Image

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.index.home import IndexHome
from shopwindow_client import Product, RetrievalClient
from tests.cli.command_line import fails, shopwindow, succeeds
from tests.cli.conftest import OTHER_TOWERS
from tests.server.gateway.conftest import write_certificate
from tests.whole_server.generations import publish, truncate

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120
ANY_PORTS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "shopwindow.cli.main", "serve", "--host", "127.0.0.1", *map(str, arguments)]


@contextmanager
def serving(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run the command. If it still runs at the end of the block, kill it."""
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    watchdog = threading.Timer(TIMEOUT_S, process.kill)  # this also ends the pipes, so that no test reads them for ever
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        family = descendants(process.pid)
        process.kill()
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def read_until(process: subprocess.Popen[str], end: str) -> list[str]:
    """Return the lines of standard output up to the line that contains `end`."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or end not in lines[-1]:
        line = process.stdout.readline()
        assert line, f"ended after {lines}: {process.communicate()}"
        lines.append(line.rstrip("\n"))
    return lines


def descendants(pid: int) -> list[int]:
    """Return the live processes that a process started, and those that they started."""
    live = processes()
    found = [pid]
    for member in found:
        found.extend(child for child, (parent, _) in live.items() if parent == member)
    return found[1:]


def processes() -> dict[int, tuple[int, int]]:
    """Return the parent and the process group of every live process, without zombies."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                state, parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if state not in "ZX":
                    found[int(entry.name)] = int(parent), int(group)
    return found


def named_in_commands(text: str) -> list[int]:
    """Return the live processes whose command line contains a text."""
    found = []
    for pid in processes():
        with suppress(FileNotFoundError, ProcessLookupError):
            if text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def triton_of(pid: int) -> int | None:
    """Return the id of the tritonserver that a `shopwindow serve` started."""
    servers = [child for child in named_in_commands("/tritonserver\0") if processes()[child][0] == pid]
    return servers[0] if servers else None


def end_in_time(pids: Sequence[int]) -> bool:
    """Wait for all these processes to end. Return False if one does not end in time."""
    deadline = time.monotonic() + TIMEOUT_S
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            readable, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        finally:
            os.close(descriptor)
        if not readable:
            return False
    return True


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def addresses(lines: Sequence[str]) -> dict[str, str]:
    """Return the printed addresses of gRPC, HTTP and metrics."""
    found = (re.fullmatch(r" +(gRPC|HTTP|metrics) +(\S+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


@pytest.mark.parametrize(("number", "profile"), [(signal.SIGINT, "cpu"), (signal.SIGTERM, "cpu-ensemble")])
def test_serve_prints_its_addresses_answers_and_stops_on_a_signal(
    repository: Path, index: Path, pipeline: InProcessPipeline, tmp_path: Path, number: signal.Signals, profile: str
) -> None:
    log = tmp_path / "triton.log"
    arguments = ("--repository", repository, "--index", index, "--profile", profile, "--log", log, *ANY_PORTS)
    with serving(*arguments) as process:
        lines = read_until(process, "Ctrl-C stops it.")
        found = addresses(lines)
        assert set(found) == {"gRPC", "HTTP", "metrics"}
        assert any(f"serves {pipeline.index.manifest.count} products" in line for line in lines)

        with RetrievalClient(found["gRPC"], timeout_s=30.0) as client:
            assert client.retrieve("red dress", top_k=3).ids.tolist() == (
                pipeline.retrieve(["red dress"], top_k=3).product_ids.tolist()
            )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{found['HTTP']}/v2/health/ready", timeout=30) as reply:
            assert reply.status == 200
        with direct.open(found["metrics"], timeout=30) as reply:
            assert b"nv_inference_request_success" in reply.read()

        family = descendants(process.pid)
        assert len(family) > 1  # the server and its Python stubs
        process.send_signal(number)
        printed, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert printed.splitlines() == ["stopping ..."]
        assert processes().keys() & set(family) == set()
    ports = [int(re.findall(r":(\d+)", address)[0]) for address in found.values()]
    assert [port for port in ports if not is_free(port)] == []
    assert "GRPCInferenceService" in log.read_text()


def test_with_certificate_and_keys_every_command_gets_in_and_nobody_else(
    repository: Path, index: Path, shop: Path, tmp_path: Path
) -> None:
    certificate, key = write_certificate(tmp_path, "server")
    keys, mine = tmp_path / "keys.json", tmp_path / "mine"
    mine.write_text("a-key-that-nobody-guesses\n")
    keys.write_text('{"shop": {"key": "a-key-that-nobody-guesses"}}')
    arguments = ("--tls-certificate", certificate, "--tls-key", key, "--keys", keys)
    with serving("--repository", repository, "--index", index, *arguments, *ANY_PORTS) as process:
        found = addresses(read_until(process, "Ctrl-C stops it."))
        assert found["HTTP"].startswith("https://")
        access = ("--url", found["gRPC"], "--tls-ca", certificate, "--key-file", mine)
        assert "red" in succeeds("retrieve", "red dress", "--top-k", 3, *access)
        assert succeeds("probe", *access) == ""
        load = ("--users", 2, "--duration-s", 2, "--max-error-share", 0, "--out", tmp_path / "load")
        load += ("--queries", shop / "queries.parquet")
        # In a process of its own, because Locust changes the process that it runs in.
        test = subprocess.run(
            [sys.executable, "-m", "shopwindow.cli.main", "loadtest", *map(str, (*load, *access))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert test.returncode == 0, test.stdout + test.stderr
        assert "refuses this caller" in fails("retrieve", "red dress", *access[:4])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--no-gateway", "--keys", "keys.json"), "--keys: needs the gateway; leave out --no-gateway"),
        (("--no-gateway", "--host", "::1"), "only a gateway binds it"),
        (("--host", "no-such-host.invalid"), "'no-such-host.invalid' is no address and no known name"),
        (("--tls-key", "server.key"), "key is given, certificate is not"),
        (("--triton=--grpc-use-ssl=true",), "give --tls-certificate FILE --tls-key FILE"),
    ],
)
def test_options_of_access_that_cannot_be_are_refused_at_once(
    repository: Path, index: Path, arguments: tuple[str, ...], why: str
) -> None:
    assert why in fails("serve", "--repository", repository, "--index", index, *arguments)


def test_a_request_in_flight_is_answered_before_the_server_stops(repository: Path, index: Path) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (6000, 6000), (200, 30, 30)).save(photo, "PNG", compress_level=1)
    with serving("--repository", repository, "--index", index, *ANY_PORTS) as process, ThreadPoolExecutor(1) as pool:
        found = addresses(read_until(process, "Ctrl-C stops it."))
        with RetrievalClient(found["gRPC"], timeout_s=30.0, retry=None) as client:
            answer = pool.submit(client.embed_product, [Product(image=photo.getvalue())] * 4)
            while not set(named_in_commands("photos.decoder")) & set(descendants(process.pid)):
                assert not answer.done(), "the photos are too small to be decoded elsewhere"
            process.terminate()
            assert answer.result().embeddings.shape[0] == 4
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0


def test_a_server_stopped_while_it_starts_leaves_no_process(repository: Path, index: Path) -> None:
    with serving("--repository", repository, "--index", index, *ANY_PORTS) as process:
        read_until(process, "starting Triton")
        while not (triton := triton_of(process.pid)) or not descendants(triton):  # some of its Python stubs
            assert process.poll() is None, process.communicate()
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
        assert end_in_time([triton])
        assert end_in_time([pid for pid, (_, group) in processes().items() if group == triton])


def test_a_server_stopped_before_triton_is_up_leaves_nothing(repository: Path, index: Path) -> None:
    with serving("--repository", repository, "--index", index, *ANY_PORTS) as process:
        read_until(process, "starting Triton")
        process.terminate()
        printed, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert printed.splitlines() == ["stopping ..."]
        # Triton leads its own session. Its id, and its shared memory, contain the id of the process that started it.
        assert end_in_time(named_in_commands(f"shopwindow-{process.pid}-"))
        assert list(Path("/dev/shm").glob(f"shopwindow-{process.pid}-*")) == []


def test_without_a_watch_the_command_ends_when_triton_is_killed(repository: Path, index: Path) -> None:
    with serving("--repository", repository, "--index", index, "--no-watch", *ANY_PORTS) as process:
        read_until(process, "Ctrl-C stops it.")
        family, triton = descendants(process.pid), triton_of(process.pid)
        assert triton is not None
        os.kill(triton, signal.SIGKILL)
        printed, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 1, errors
        assert "Triton ended by itself with status -9" in printed
        assert processes().keys() & set(family) == set()


@pytest.mark.parametrize("flag", ["--http-port", "--grpc-port", "--metrics-port"])
def test_a_taken_port_is_one_line(repository: Path, index: Path, flag: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        ports = [*ANY_PORTS]
        ports[ports.index(flag) + 1] = str(port)
        done = subprocess.run(
            command("--repository", repository, "--index", index, *ports),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("shopwindow serve: error: ")
    assert flag in line
    assert str(port) in line
    assert "already in use" in line


def test_a_repository_of_an_older_version_is_refused_in_one_line(repository: Path, index: Path, tmp_path: Path) -> None:
    older = tmp_path / "model_repository"
    shutil.copytree(repository, older)
    (older / "retrieve" / "1" / "model.py").write_text(
        "import stub\nfrom retrieval.live_loading import pipeline_loader\n"
    )
    log = tmp_path / "triton.log"
    message = "an older version exported retrieve: run 'shopwindow export' again"
    assert message in fails("serve", "--repository", older, "--index", index, "--log", log, *ANY_PORTS)
    assert not log.exists()  # Triton never started
    done = shopwindow("validate", older)
    assert done.code == 1
    [line] = [line for line in done.stdout.splitlines() if "error: " in line]
    assert message in line


@pytest.mark.parametrize(
    ("folder", "model", "character"),
    [
        ("models", "my model", "'my model' has ' ' (SPACE)"),
        ("mod\udce4les", "retrieve", "the byte 0xE4, which is not UTF-8"),
    ],
)
def test_names_that_cannot_work_are_refused_with_the_character(
    tmp_path: Path, folder: str, model: str, character: str
) -> None:
    (tmp_path / folder / model).mkdir(parents=True)
    assert character in fails("serve", "--repository", tmp_path / folder, "--index", tmp_path, *ANY_PORTS)
    done = shopwindow("validate", tmp_path / folder)
    assert (done.code, character in done.stdout + done.stderr) == (1, True)


def test_an_index_of_other_towers_is_refused_before_triton_starts(
    repository: Path, index_of_other_towers: Path, pipeline: InProcessPipeline, tmp_path: Path
) -> None:
    log = tmp_path / "triton.log"
    line = fails("serve", "--repository", repository, "--index", index_of_other_towers, "--log", log, *ANY_PORTS)
    assert OTHER_TOWERS[:12] in line
    assert pipeline.bundle.tower_hash[:12] in line
    assert not log.exists()  # Triton never started


def test_a_broken_generation_is_named_and_the_one_before_it_is_served(
    repository: Path, pipeline: InProcessPipeline, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    good = publish(home, ["red mug", "blue dress", "green lamp"], 100, pipeline)
    bad = publish(home, ["red mug", "blue dress", "green lamp"], 200, pipeline, spoil=truncate("index.faiss"))
    (IndexHome(home).folder(good) / "skipped.csv").write_text("changed, but nobody reads it")  # --verify off allows it
    arguments = ["--repository", repository, "--index", home, "--log", tmp_path / "log", "--verify", "off"]
    with serving(*arguments, *ANY_PORTS) as process:
        lines = read_until(process, "Ctrl-C stops it.")
        assert f"index generation {bad} is refused" in lines[0] and "index.faiss" in lines[0]
        assert f"index generation {good} is served instead" in lines[1]
        assert any(f"serves 3 products (index generation {good})" in line for line in lines)
        with RetrievalClient(addresses(lines)["gRPC"], timeout_s=30.0) as client:
            assert client.retrieve("red mug", top_k=1).ids.tolist() == [[100]]

    truncate("attributes.parquet")(IndexHome(home).folder(good))
    done = shopwindow("serve", "--repository", repository, "--index", home, *ANY_PORTS)
    assert (done.code, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert f"generations/{bad:06d}/index.faiss" in line
