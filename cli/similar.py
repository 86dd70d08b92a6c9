"""shopwindow similar"""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.common import add_search, add_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--image", type=Path, metavar="FILE", help="a JPEG, PNG or WebP photo")
    parser.add_argument("--title", help="a product's title, or words that change the photo")
    add_url(parser)
    add_search(parser)


def run(options: argparse.Namespace) -> int:
    """Retrieve, print, and write the page."""
    from cli.show import show_results
    from shopwindow_client import RetrievalClient

    with RetrievalClient(options.url, timeout_s=options.timeout) as client:
        results = client.retrieve_similar(
            title=options.title,
            image=options.image,
            top_k=options.top_k,
            effort=options.effort,
            filter=options.filter,
            min_score=options.min_score,
        )
        served = client.info().tower_hash
    asked = " + ".join(
        part for part in (options.image and options.image.name, options.title and f"“{options.title}”") if part
    )
    show_results([asked], results, index=options.index, served=served, page_file=options.html)
    return 0
