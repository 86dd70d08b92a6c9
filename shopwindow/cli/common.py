"""What several subcommands share: default places and common options."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from shopwindow.base.default_places import GRPC_URL, INDEX, REPOSITORY, SHOP

# Option -> the demo shop's file that is its default, and what a file must hold.
_DATA = {
    "catalog": ("products.parquet", "parquet with product_id, title, image"),
    "clicks": ("clicks.parquet", "parquet with query, product_id and optionally count"),
    "pairs": (None, "parquet with trigger_id, recall_id, for the same-style losses"),
    "queries": ("queries.parquet", "parquet with query_id, text"),
    "qrels": ("qrels.parquet", "parquet with query_id, product_id, relevance"),
}


def add_repository(parser: argparse.ArgumentParser) -> None:
    """The option --repository."""
    parser.add_argument(
        "--repository", type=Path, default=REPOSITORY, metavar="DIR", help="model repository (default: %(default)s)"
    )


def add_index(parser: argparse.ArgumentParser) -> None:
    """The option --index."""
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="index folder (default: `index` beside the repository)"
    )


def add_data(parser: argparse.ArgumentParser, name: str, note: str = "", *, text: str | None = None) -> None:
    """One of the options --catalog, --clicks, --pairs, --queries and --qrels.

    Args:
        parser: receives it.
        name: of the option, without dashes.
        note: what the help adds to what the file must hold.
        text: what the help says instead of that.
    """
    file, columns = _DATA[name]
    parser.add_argument(
        f"--{name}",
        type=Path,
        default=SHOP / file if file else None,
        metavar="FILE",
        help=(text or columns) + note + (" (default: the demo shop's)" if file else ""),
    )


def add_url(parser: argparse.ArgumentParser) -> None:
    """The options that reach a server."""
    parser.add_argument("--url", default=GRPC_URL, help="host:port of the server's gRPC (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="deadline in seconds (default: %(default)s)"
    )


def add_search(parser: argparse.ArgumentParser) -> None:
    """The request parameters, and how to show what was found."""
    parser.add_argument("--top-k", type=int, default=10, metavar="K", help="products wanted (default: %(default)s)")
    parser.add_argument("--effort", type=int, metavar="1..10", help="search effort; 5 is the index's calibrated one")
    parser.add_argument("--filter", metavar="JSON", help='such as \'{"colour": "red", "price": {"lt": 50}}\'')
    parser.add_argument("--min-score", type=float, metavar="S", help="leave out products that score less")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with the photos")
    parser.add_argument(
        "--index",
        type=Path,
        default=INDEX,
        metavar="DIR",
        help="the served index's folder, to take titles and photos from when it is at hand (default: %(default)s)",
    )


def triton_version(text: str) -> tuple[int, int]:
    """A version of Triton on the command line, such as 2.71."""
    found = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)*", text)
    if not found:
        raise argparse.ArgumentTypeError(f"must look like 2.71, got {text!r}")
    return int(found[1]), int(found[2])
