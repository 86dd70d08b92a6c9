"""shopwindow probe"""

from __future__ import annotations

import argparse
import sys

from shopwindow.base.default_places import GRPC_URL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--url", default=GRPC_URL, help="host:port of the server's gRPC (default: %(default)s)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=2.0,
        metavar="S",
        help="deadline of each request in seconds (default: %(default)s)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--ready", action="store_true", help="check that every pipeline answers a real request (the default)"
    )
    kind.add_argument("--live", action="store_true", help="check only that the server answers")


def run(options: argparse.Namespace) -> int:
    """Return 0 if the server is ready (or live). Otherwise print the reason on standard error and return 1."""
    from shopwindow.server.canary import Canary

    with Canary(options.url, deadline_s=options.timeout) as canary:
        if options.live:
            reasons = [] if canary.is_live() else [f"not live: {options.url} does not answer"]
        else:
            reasons = [f"not ready: {model}: {error}" for model, error in canary.ask().items() if error is not None]
    for reason in reasons:
        print(reason, file=sys.stderr)
    return 1 if reasons else 0
