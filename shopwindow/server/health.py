"""The HTTP endpoints /livez and /readyz, which report what the supervisor saw last."""

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
    """The health of a server.

    Args:
        live: The server runs, starts, or is being recovered. False after a failed restart: someone else should restart
            the whole process.
        ready: Every pipeline answers.
        reason: Why the server is not ready or not live.
    """

    live: bool
    ready: bool
    reason: str = ""


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
