"""The HTTP endpoints /livez, /readyz and /readyz/MODEL, which report what the supervisor saw last."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType

from shopwindow.server.ports import address, choose_ports


@dataclass(frozen=True, kw_only=True)
class ModelHealth:
    """The health of one pipeline or of the index.

    Args:
        ready: It answers, or is only busy.
        text: `ok`, or what is wrong with it.
    """

    ready: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Health:
    """The health of a server.

    Args:
        live: The server runs, starts, or is being recovered. False after a failed restart: someone else should restart
            the whole process.
        ready: Every pipeline answers.
        reason: Why the server is not ready or not live.
        models: The health of each pipeline and of the index; empty while it is unknown.
    """

    live: bool
    ready: bool
    reason: str = ""
    models: Mapping[str, ModelHealth] = field(default_factory=dict)


class HealthServer:
    """Answers probes with 200, or with 503 and the reason. Runs in its own thread until it is closed.

    Args:
        host: Address to bind to.
        port: Port to bind to; 0 picks a free one.
        look: Returns the current health.

    Attributes:
        address: `HOST:PORT`, as this machine reaches it.

    Raises:
        PortInUse: The port is in use.
    """

    def __init__(self, host: str, port: int, look: Callable[[], Health]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0  # a silent client must not keep its thread for ever

            def do_GET(self) -> None:
                self._answer(*_answer(look(), self.path.partition("?")[0]))

            do_HEAD = do_GET

            def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
                """Answer with the code's own words. The message would quote the request, at any length."""
                super().send_error(code)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing, because probes come every few seconds."""

            def _answer(self, status: int, text: str) -> None:
                body = f"{text}\n".encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

        [port] = choose_ports(host, {"--health-port": port}).values()

        class Server(ThreadingHTTPServer):
            address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

            def server_bind(self) -> None:
                TCPServer.server_bind(self)  # HTTPServer would look up this machine's name in DNS, which may take long

        self.address = address(host, port)
        self._server = Server((host, port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> HealthServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def _answer(health: Health, path: str) -> tuple[int, str]:
    """Return the status and the text for a path."""
    if path == "/livez":
        return (200, "ok") if health.live else (503, health.reason)
    if path == "/readyz":
        each = [f"{name}: {model.text}" for name, model in health.models.items()]
        return 200 if health.ready else 503, "\n".join(["ok" if health.ready else health.reason, *each])
    if (model := health.models.get(path.removeprefix("/readyz/"))) is not None:
        return 200 if model.ready else 503, model.text
    paths = ["/livez", "/readyz", *(f"/readyz/{name}" for name in health.models)]
    return 404, f"no {path[:100]!a}; there are {', '.join(paths)}"
