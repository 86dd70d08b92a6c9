"""shopwindow serve"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from types import FrameType

from cli.common import add_index, add_repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_repository(parser)
    add_index(parser)
    parser.add_argument(
        "--profile",
        default="cpu",
        help="cpu (retrieve fused into one model), cpu-ensemble (a model a step) or gpu (default: %(default)s)",
    )
    for name, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        parser.add_argument(
            f"--{name}-port", type=int, default=port, metavar="N", help="0 picks a free one (default: %(default)s)"
        )
    parser.add_argument("--host", default="0.0.0.0", help="address to bind (default: %(default)s)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep the server's log here")


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; 1 when the server dies by itself."""
    from retrieval.bundle import Bundle
    from retrieval.product_index import ProductIndex
    from serving import ServerOptions, TritonServer
    from shopwindow_client import RetrievalClient

    # Said here in a second, rather than by every Python model in its own words.
    manifest = ProductIndex.open(options.index, tower_hash=Bundle.read(options.repository).tower_hash).manifest
    server = TritonServer(
        ServerOptions(
            repository=options.repository,
            profile=options.profile,
            http_port=options.http_port,
            grpc_port=options.grpc_port,
            metrics_port=options.metrics_port,
            host=options.host,
            index=options.index,
            log_file=options.log,
        )
    )
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    print(f"starting Triton (profile {options.profile}) ...", flush=True)
    server.start()
    try:
        server.wait_until_ready()
        # Ready is what Triton says of itself; a real answer is the proof.
        with RetrievalClient(server.grpc_url, timeout_s=30.0) as client:
            client.retrieve("canary", top_k=1)
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        print(
            f"Triton {server.version} serves {manifest.count} products (index generation {manifest.generation})\n"
            f"  gRPC     {server.grpc_url}\n"
            f"  HTTP     http://{server.http_url}\n"
            f"  metrics  {server.metrics_url}\n"
            "Ctrl-C stops it.",
            flush=True,
        )
        while not stopping.wait(0.5):
            if (status := server.poll()) is not None:
                print(f"Triton ended by itself with status {status}; the end of its log:\n{server.log_tail()}")
                return 1
        print("stopping ...", flush=True)
    finally:
        server.stop()
    return 0
