"""shopwindow serve"""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from shopwindow.cli.common import add_index, add_repository
from shopwindow.server.options import CLOSED_PROTOCOLS, VERIFY_LEVELS

if TYPE_CHECKING:
    from shopwindow.retrieval.index.folder import Manifest
    from shopwindow.server import TritonServer
    from shopwindow.server.gateway import GatewayOptions


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
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address or name to bind, such as 0.0.0.0 or :: for all interfaces (default: only this machine, "
        "%(default)s)",
    )
    _add_access(parser)
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
        "--verify",
        choices=VERIFY_LEVELS,
        help="how thoroughly files of the index are compared with their checksums before they are served: full reads "
        "all, fast compares sizes and the first and last 64 MiB of each, off nothing (default: the environment "
        "variable SHOPWINDOW_VERIFY, else full)",
    )
    parser.add_argument(
        "--no-watch", dest="watch", action="store_false", help="stop when Triton stops; restart nothing"
    )
    parser.add_argument(
        "--triton", action="append", default=[], metavar="ARG", help="a further argument for tritonserver; repeatable"
    )


def _add_access(parser: argparse.ArgumentParser) -> None:
    access = parser.add_argument_group(
        "access", "an Envoy proxy, the gateway, stands between callers and Triton; it takes replaced files by itself"
    )
    access.add_argument(
        "--tls-certificate", type=Path, metavar="FILE", help="encrypt: the server's certificate and its chain, PEM"
    )
    access.add_argument("--tls-key", type=Path, metavar="FILE", help="the certificate's private key, PEM")
    access.add_argument(
        "--tls-client-ca", type=Path, metavar="FILE", help="accept only callers with a certificate of these authorities"
    )
    access.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help='accept only callers with a key: {"NAME": {"key": "...", "requests_per_second": 100}, ...}; the rate may '
        "be left out",
    )
    access.add_argument(
        "--expose",
        action="append",
        default=[],
        choices=CLOSED_PROTOCOLS,
        help="open a protocol of Triton to every caller, repeatable; strangers can do harm through most of them",
    )
    access.add_argument(
        "--no-gateway",
        dest="gateway",
        action="store_false",
        help="let callers reach Triton itself: faster, but messages of any size get in, without TLS and keys",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM. Return 1 if, with --no-watch, Triton or the gateway ends by itself."""
    from shopwindow.retrieval.embedding.repository_layout import default_index
    from shopwindow.server import HealthServer, ServerOptions, Supervisor, TritonServer
    from shopwindow.server.gateway import Gateway

    if options.health_port is not None and not options.watch:
        raise ValueError("--health-port reports what the watch sees, so it cannot be combined with --no-watch")
    access = _access(options)
    index = options.index or default_index(options.repository)
    log = options.log or options.repository.resolve().parent / "triton.log"
    # A check here takes a second, and its message is clearer than those of the Python models.
    _check_code(options.repository)
    if options.profile == "gpu":
        _check_plans(options.repository)
    manifest = _first_served(index, options.repository, follow=options.profile == "cpu", verify=options.verify)
    server = TritonServer(
        ServerOptions(
            repository=options.repository,
            profile=options.profile,
            http_port=0 if access else options.http_port,
            grpc_port=0 if access else options.grpc_port,
            metrics_port=0 if access else options.metrics_port,
            host="127.0.0.1" if access else options.host,
            behind_gateway=access is not None,
            index=index,
            verify=options.verify,
            ready_timeout_s=options.ready_timeout,
            log_file=log,
            reloadable=options.watch,
            expose=() if access else tuple(options.expose),
            extra_args=tuple(options.triton),
        )
    )
    gateway = Gateway(access, server) if access else None
    supervisor = Supervisor(server, gateway)
    health: HealthServer | None = None
    try:
        for number in (signal.SIGINT, signal.SIGTERM):  # both raise KeyboardInterrupt, at any moment
            signal.signal(number, signal.default_int_handler)
        print(f"starting Triton (profile {options.profile}, log {log}) ...", flush=True)
        if options.health_port is not None:
            health = HealthServer(options.host, options.health_port, lambda: supervisor.health)
        server.start()
        if gateway is not None:
            gateway.start()
        server.wait_until_ready()
        _prove(server)
        reached = gateway or server
        print(
            f"Triton {server.version} serves {manifest.count} products (index generation {manifest.generation})\n"
            f"  gRPC     {reached.grpc_url}\n"
            f"  HTTP     {reached.http_url if gateway else f'http://{server.http_url}'}\n"
            f"  metrics  {reached.metrics_url}\n"
            + (f"  health   http://{health.address}/readyz\n" if health else "")
            + "Ctrl-C stops it.",
            flush=True,
        )
        if options.watch:
            supervisor.run()
        while (status := server.poll()) is None:
            if gateway is not None:
                if not gateway.is_at_work():
                    print("the gateway ended by itself")
                    return 1
                gateway.refresh()
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
        if gateway is not None:  # after the server, which answers what is in flight
            gateway.stop()
        if health is not None:
            health.close()


def _access(options: argparse.Namespace) -> GatewayOptions | None:
    """Return how callers reach the server; None: they reach Triton itself. Print what that leaves open.

    Raises:
        ValueError: options contradict each other.
        ServingError: Triton alone cannot bind the address.
    """
    from shopwindow.server.gateway import GatewayOptions
    from shopwindow.server.ports import check_ipv4, is_loopback

    if unfit := [argument for argument in options.triton if argument.startswith("--grpc-use-ssl")]:
        raise ValueError(f"--triton {unfit[0]}: the gateway encrypts; give --tls-certificate FILE --tls-key FILE")
    secured = {name: getattr(options, name) for name in ("tls_certificate", "tls_key", "tls_client_ca", "keys")}
    access = None
    if options.gateway:
        access = GatewayOptions(
            host=options.host,
            http_port=options.http_port,
            grpc_port=options.grpc_port,
            metrics_port=options.metrics_port,
            certificate=options.tls_certificate,
            key=options.tls_key,
            client_ca=options.tls_client_ca,
            keys=options.keys,
            expose=tuple(options.expose),
        )
    elif given := [f"--{name.replace('_', '-')}" for name, file in secured.items() if file is not None]:
        raise ValueError(f"{' and '.join(given)}: needs the gateway; leave out --no-gateway")
    else:
        check_ipv4(options.host)
    if not is_loopback(options.host):
        for missing, remedy, meaning in (
            (options.tls_certificate is None, "--tls-certificate and --tls-key", "requests travel in plain text"),
            (options.keys is None and options.tls_client_ca is None, "--keys", "everybody who reaches it can search"),
        ):
            if missing:
                print(f"--host {options.host} without {remedy}: {meaning}", flush=True)
    return access


def _first_served(index: Path, repository: Path, *, follow: bool, verify: str | None) -> Manifest:
    """Return the manifest of the generation that the models will serve first, and print those that they will refuse.

    It uses the same checks as the models.

    Raises:
        RetrievalError: there is no generation, or none can be served.
    """
    from shopwindow.retrieval.engines import EngineOptions
    from shopwindow.retrieval.index.checksums import Verify
    from shopwindow.retrieval.live.live_index import LiveIndex
    from shopwindow.retrieval.live.loading import index_loader

    refused: list[str] = []
    level = None if verify is None else Verify(verify)
    load = index_loader(repository, EngineOptions(), follow=follow, verify=level)
    live = LiveIndex(index, load, name="shopwindow serve", complain=refused.append)
    live.close()
    for line in refused:
        print(line, flush=True)
    return live.current.manifest


def _check_code(repository: Path) -> None:
    """Refuse a repository that an older version exported, or whose models have names that Triton cannot take.

    Raises:
        ExportError: the repository must be exported again, or a folder renamed.
    """
    from shopwindow_export.errors import ExportError
    from shopwindow_export.validation.older_code import check_code
    from shopwindow_export.validation.parsing import check_folder_names

    for problem in [*check_folder_names(repository), *check_code(repository)]:
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


def _prove(server: TritonServer) -> None:
    """Ask every pipeline for an answer, because Triton can be ready while a pipeline is not."""
    from shopwindow.server.watch.canary import Canary

    with Canary(server.grpc_url, deadline_s=30.0, headers=server.owner_header) as canary:
        for error in canary.ask().values():
            if error is not None:
                raise error
