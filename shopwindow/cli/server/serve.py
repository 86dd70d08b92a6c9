"""shopwindow serve"""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from shopwindow.cli.common import add_index, add_repository
from shopwindow.server.options import CLOSED_PROTOCOLS

if TYPE_CHECKING:
    from shopwindow.retrieval.index.folder import Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_repository(parser)
    add_index(parser)
    parser.add_argument(
        "--profile",
        default="cpu",
        help="cpu (retrieve is one model), cpu-ensemble (one model for each step), gpu, or onnxruntime in Triton's "
        "container (default: %(default)s)",
    )
    for name, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        parser.add_argument(
            f"--{name}-port", type=int, default=port, metavar="N", help="0 picks a free port (default: %(default)s)"
        )
    parser.add_argument("--host", default="0.0.0.0", help="address to bind (default: %(default)s)")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="Triton's log (default: triton.log beside the repository)"
    )
    parser.add_argument(
        "--ready-timeout",
        type=float,
        default=120.0,
        metavar="S",
        help="seconds to wait until it is ready (default: %(default)s)",
    )
    parser.add_argument(
        "--health-port",
        type=int,
        metavar="N",
        help="answer /livez and /readyz here; 0 picks a free port (default: off)",
    )
    parser.add_argument(
        "--no-watch", dest="watch", action="store_false", help="stop when Triton stops; restart nothing"
    )
    parser.add_argument(
        "--expose",
        action="append",
        default=[],
        choices=CLOSED_PROTOCOLS,
        help="open a protocol of Triton to every caller, repeatable; strangers can harm the server through it",
    )
    parser.add_argument(
        "--triton", action="append", default=[], metavar="ARG", help="a further argument for tritonserver; repeatable"
    )


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM. Return 1 if, with --no-watch, Triton ends by itself."""
    from shopwindow.retrieval.embedding.repository_layout import default_index
    from shopwindow.server import HealthServer, ServerOptions, Supervisor, TritonServer

    if options.health_port is not None and not options.watch:
        raise ValueError("--health-port reports what the watch sees, so it cannot be combined with --no-watch")
    index = options.index or default_index(options.repository)
    log = options.log or options.repository.resolve().parent / "triton.log"
    # A check here takes a second, and its message is clearer than those of the Python models.
    _check_code(options.repository)
    if options.profile == "gpu":
        _check_plans(options.repository)
    manifest = _first_served(index, options.repository, follow=options.profile == "cpu")
    server = TritonServer(
        ServerOptions(
            repository=options.repository,
            profile=options.profile,
            http_port=options.http_port,
            grpc_port=options.grpc_port,
            metrics_port=options.metrics_port,
            host=options.host,
            index=index,
            ready_timeout_s=options.ready_timeout,
            log_file=log,
            reloadable=options.watch,
            expose=tuple(options.expose),
            extra_args=tuple(options.triton),
        )
    )
    supervisor = Supervisor(server)
    health: HealthServer | None = None
    try:
        for number in (signal.SIGINT, signal.SIGTERM):  # both raise KeyboardInterrupt, at any moment
            signal.signal(number, signal.default_int_handler)
        print(f"starting Triton (profile {options.profile}, log {log}) ...", flush=True)
        if options.health_port is not None:
            health = HealthServer(options.host, options.health_port, lambda: supervisor.health)
        server.start()
        server.wait_until_ready()
        _prove(server.grpc_url)
        print(
            f"Triton {server.version} serves {manifest.count} products (index generation {manifest.generation})\n"
            f"  gRPC     {server.grpc_url}\n"
            f"  HTTP     http://{server.http_url}\n"
            f"  metrics  {server.metrics_url}\n"
            + (f"  health   http://{health.address}/readyz\n" if health else "")
            + "Ctrl-C stops it.",
            flush=True,
        )
        if options.watch:
            supervisor.run()
        while (status := server.poll()) is None:
            time.sleep(0.5)
        print(f"Triton ended by itself with status {status}; the end of its log:\n{server.log_tail()}")
        return 1
    except KeyboardInterrupt:
        print("stopping ...", flush=True)
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second signal must not interrupt the stop
            signal.signal(number, signal.SIG_IGN)
        server.stop()
        if health is not None:
            health.close()


def _first_served(index: Path, repository: Path, *, follow: bool) -> Manifest:
    """Return the manifest of the generation that the models will serve first, and print those that they will refuse.

    It uses the same checks as the models.

    Raises:
        RetrievalError: there is no generation, or none can be served.
    """
    from shopwindow.retrieval.engines import EngineOptions
    from shopwindow.retrieval.live.live_index import LiveIndex
    from shopwindow.retrieval.live.loading import index_loader

    refused: list[str] = []
    load = index_loader(repository, EngineOptions(), follow=follow)
    live = LiveIndex(index, load, name="shopwindow serve", complain=refused.append)
    live.close()
    for line in refused:
        print(line, flush=True)
    return live.current.manifest


def _check_code(repository: Path) -> None:
    """Refuse a repository that an older version exported.

    Raises:
        ExportError: the repository must be exported again.
    """
    from shopwindow_export.errors import ExportError
    from shopwindow_export.validation.older_code import check_code

    for problem in check_code(repository):
        raise ExportError(f"{repository}: {problem.message}")


def _check_plans(repository: Path) -> None:
    """Refuse a repository that does not validate, above all plans for another TensorRT, GPU or graph.

    Triton says little about such plans.

    Raises:
        PlanError: it lists the errors.
    """
    from shopwindow_export.errors import PlanError
    from shopwindow_export.plans.machine import this_machine
    from shopwindow_export.validation.run import validate_repository

    problems = validate_repository(repository, profile="gpu", server=this_machine())
    if faults := [str(problem) for problem in problems if problem.severity == "error"]:
        raise PlanError("\n".join([f"{repository} can't be served on this machine:", *faults]))


def _prove(url: str) -> None:
    """Ask every pipeline for an answer, because Triton can be ready while a pipeline is not."""
    from shopwindow.server.canary import Canary

    with Canary(url, deadline_s=30.0) as canary:
        for error in canary.ask().values():
            if error is not None:
                raise error
