"""Wait for a server that has no model loaded. `TritonServer.wait_until_ready` would wait for models."""

from __future__ import annotations

import time

import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from shopwindow.server import TritonServer


def wait_until_live(server: TritonServer, client: grpcclient.InferenceServerClient, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not _is_live(client):
        assert server.poll() is None and time.monotonic() < deadline, server.log_tail()
        time.sleep(0.05)


def _is_live(client: grpcclient.InferenceServerClient) -> bool:
    try:
        return bool(client.is_server_live(client_timeout=1))
    except InferenceServerException:
        return False
