"""Options that reach a server: its address, encryption and the caller's key."""

from __future__ import annotations

import argparse
from pathlib import Path

from shopwindow.base.default_places import GRPC_URL


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add --url, and the options of `shopwindow serve --tls-certificate` and `--keys` for callers."""
    parser.add_argument("--url", default=GRPC_URL, help="host:port of the server's gRPC (default: %(default)s)")
    parser.add_argument("--tls", action="store_true", help="encrypt the connection")
    parser.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="encrypt, and trust a server of these authorities, PEM"
    )
    parser.add_argument(
        "--tls-certificate",
        type=Path,
        metavar="FILE",
        help="the caller's own certificate, if the server asks for one",
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the private key of --tls-certificate")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="file with the caller's key and nothing else")
