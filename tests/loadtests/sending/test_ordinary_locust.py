"""`locust -f loadtests/locustfile.py`: Locust's own options and web interface work as its users know them."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.base.default_places import ROOT, python_path

LOCUST = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": python_path({})}
PATIENCE_S = 60.0


def locust(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Locust in a folder until it ends."""
    command = [*LOCUST, *arguments]
    return subprocess.run(
        command, env=ENVIRONMENT, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )


def ask(port: int, path: str, form: dict[str, Any] | None = None) -> Any:
    """Ask Locust's web interface; JSON, or None while it does not answer."""
    body = None if form is None else urllib.parse.urlencode(form).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=10) as reply:
            return json.load(reply)
    except (urllib.error.URLError, ConnectionError):
        return None


def test_without_a_web_interface_it_takes_the_demo_shops_queries(planted: Any, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "build" / "demo").mkdir(parents=True)
    (tmp_path / "build" / "demo" / "shop").symlink_to(shop)
    places = ["--csv", "figures", "--html", "page.html"]
    ended = locust(tmp_path, "--host", planted.url, "-u", "3", "-r", "3", "-t", "3s", "--headless", *places)
    assert ended.returncode == 0, ended.stderr
    assert "sending queries from build/demo/shop/queries.parquet (the demo shop's" in ended.stderr
    assert f"to {planted.url}" in ended.stderr
    with (tmp_path / "figures_stats.csv").open() as file:
        [text] = [row for row in csv.DictReader(file) if row["Name"] == "text batch=1"]
    assert int(text["Request Count"]) > 10
    assert int(text["Failure Count"]) == 0
    assert 0 < float(text["Median Response Time"]) < 2_000
    assert "text batch=1" in (tmp_path / "page.html").read_text()


def test_the_web_interface_starts_a_test_with_the_built_in_queries(planted: Any, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    log = tmp_path / "log"
    command = [*LOCUST, "--host", planted.url, "--web-host", "127.0.0.1", "--web-port", str(port)]
    with log.open("w") as output, subprocess.Popen(command, env=ENVIRONMENT, cwd=tmp_path, stderr=output) as process:
        try:
            end = time.monotonic() + PATIENCE_S
            while ask(port, "/stats/requests") is None and time.monotonic() < end:
                time.sleep(0.1)
            form = {"user_count": 2, "spawn_rate": 2, "host": f"http://{planted.url}/", "batch": 3}
            started = ask(port, "/swarm", form)
            assert started["success"], log.read_text()
            rows: dict[str, Any] = {}
            while rows.get("text batch=3", {}).get("num_requests", 0) < 10 and time.monotonic() < end:
                time.sleep(0.1)
                rows = {row["name"]: row for row in ask(port, "/stats/requests")["stats"]}
            assert rows["text batch=3"]["num_requests"] >= 10, log.read_text()
            assert rows["text batch=3"]["num_failures"] == 0
        finally:
            process.terminate()
    assert "sending 8 built-in queries (there is no build/demo/shop/queries.parquet" in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--queries", "mine.parquet"], "mine.parquet has no column 'text' (texts); it has ['query']"),
        (["--queries", "none.txt"], "queries must be a file, and there is none at none.txt"),
        (["--host", "https://shop:8001"], "host must be HOST:PORT of the server's gRPC service, without TLS"),
        (["--host", "shop"], "host must be HOST:PORT of the server's gRPC service, without TLS, got 'shop'"),
        (["--top-k", "0"], "top_k must be"),
    ],
)
def test_what_is_wrong_ends_it_at_once_with_one_line(arguments: Sequence[str], named: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"query": ["mug"]}), tmp_path / "mine.parquet")
    ended = locust(tmp_path, "--headless", "-t", "1h", *arguments)
    assert ended.returncode == 2
    [line] = [line for line in ended.stderr.splitlines() if "error" in line.lower()]
    assert line.startswith("locust: error: ")
    assert named in line


def test_a_server_that_refuses_is_a_failure_in_locusts_table(planted: Any, tmp_path: Path) -> None:
    with planted.plant("refuse", 1):
        ended = locust(tmp_path, "--host", planted.url, "-u", "1", "-t", "1s", "--headless", "--only-summary")
    assert ended.returncode == 1  # as always if a request failed
    assert re.search(r"^\d+ +gRPC text batch=1: .*planted", ended.stdout + ended.stderr, re.MULTILINE)
