"""Options that several subcommands share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from shopwindow.base.default_places import INDEX, REPOSITORY, SHOP
from shopwindow.cli.connection import add_connection

# Option -> its default file in the demo shop, and the columns that the file must have.
_DATA = {
    "clicks": ("clicks.parquet", "parquet with query, product_id and optionally count"),
    "pairs": (None, "parquet with trigger_id, recall_id, for the same-style losses"),
    "queries": ("queries.parquet", "parquet with query_id, text"),
    "qrels": ("qrels.parquet", "parquet with query_id, product_id, relevance"),
}


def add_repository(parser: argparse.ArgumentParser) -> None:
    """Add the option --repository."""
    parser.add_argument(
        "--repository", type=Path, default=REPOSITORY, metavar="DIR", help="model repository (default: %(default)s)"
    )


def add_index(parser: argparse.ArgumentParser) -> None:
    """Add the option --index."""
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="index folder (default: `index` beside the repository)"
    )


def add_data(parser: argparse.ArgumentParser, name: str, note: str = "") -> None:
    """Add one of the options --clicks, --pairs, --queries and --qrels.

    Args:
        parser: the parser to add the option to.
        name: the option's name, without dashes.
        note: text that the help adds to the list of columns.
    """
    file, columns = _DATA[name]
    parser.add_argument(
        f"--{name}",
        type=Path,
        default=SHOP / file if file else None,
        metavar="FILE",
        help=columns + note + (" (default: the demo shop's)" if file else ""),
    )


def add_url(parser: argparse.ArgumentParser) -> None:
    """Add the options that reach a server, and --timeout."""
    add_connection(parser)
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="deadline in seconds (default: %(default)s)"
    )


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the request parameters and the options that show results."""
    parser.add_argument("--top-k", type=int, default=10, metavar="K", help="products to return (default: %(default)s)")
    parser.add_argument(
        "--effort", type=int, metavar="1..10", help="search effort; 5 is the effort that the index is calibrated for"
    )
    parser.add_argument("--filter", metavar="JSON", help='such as \'{"colour": "red", "price": {"lt": 50}}\'')
    parser.add_argument(
        "--min-score",
        type=_score,
        metavar="S",
        help="leave out products with lower scores: a number, best*0.85 (a share of the best score) or precision:0.8 "
        "(as calibrated for the towers)",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write an HTML page with the photos")
    parser.add_argument(
        "--show",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="NAME,...",
        help="attributes to print beside the titles, such as price",
    )
    parser.add_argument(
        "--index",
        type=Path,
        default=INDEX,
        metavar="DIR",
        help="folder of the index that the server uses, for titles and photos; may be absent (default: %(default)s)",
    )


def _score(text: str) -> float | str:
    """Read a lowest score. What is no number, the server reads."""
    try:
        return float(text)
    except ValueError:
        return text


def triton_version(text: str) -> tuple[int, int]:
    """Read a version of Triton from the command line, such as 2.71."""
    match = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)*", text)
    if not match:
        raise argparse.ArgumentTypeError(f"must look like 2.71, got {text!r}")
    return int(match[1]), int(match[2])
