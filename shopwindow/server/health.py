"""/livez and /readyz over HTTP, from what the supervisor last saw."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType

from shopwindow.server.ports import address, choose_ports


@dataclass(frozen=True, kw_only=True)
class Health:
    """How a server is doing.

    Args:
        live: It runs, starts, or is being recovered; False when a restart has failed: time for somebody else to try.
        ready: Every pipeline answers.
        reason: Why it isn't ready, or live.
    """

    live: bool
    ready: bool
    reason: str = ""


class HealthServer:
    """Answers probes: 200, or 503 with the reason. Runs in a thread of its own until it is closed.

    Args:
        host: Address to bind to.
        port: 0 picks a free one.
        look: Tells the health of the moment.

    Attributes:
        address: `HOST:PORT`, from this machine.

    Raises:
        PortInUse: The port is taken.
    """

    def __init__(self, host: str, port: int, look: Callable[[], Health]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0  # a client that says nothing doesn't keep its thread

            def do_GET(self) -> None:
                health = look()
                verdicts = {"/livez": health.live, "/readyz": health.ready}
                path = self.path.partition("?")[0]
                if path not in verdicts:
                    self._answer(404, f"no {path}; there are /livez and /readyz")
                elif verdicts[path]:
                    self._answer(200, "ok")
                else:
                    self._answer(503, health.reason)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Probes come every few seconds: nothing to tell."""

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
                TCPServer.server_bind(self)  # HTTPServer's own asks DNS for this machine's name, which may take long

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
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
