"""shopwindow retrieve"""

from __future__ import annotations

import argparse

from shopwindow.cli.common import add_search, add_url
from shopwindow.cli.server.page_options import add_page, page_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("query", nargs="+", help="a shopper's words; several queries are sent in one request")
    add_url(parser)
    add_search(parser)
    parser.add_argument(
        "--channels",
        choices=("embedding", "lexical", "embedding,lexical"),
        help="where products come from: the towers, BM25 over the titles, or both merged (default: embedding)",
    )
    parser.add_argument(
        "--fusion", metavar="rrf|weighted:W", help="how to merge two channels; W is the weight of the embedding channel"
    )
    add_page(parser)


def run(options: argparse.Namespace) -> int:
    """Retrieve, print, and write the page."""
    from shopwindow.cli.server.page_table import page_notes
    from shopwindow.cli.server.show import is_served, show_results, wants_index
    from shopwindow_client import RetrievalClient
    from shopwindow_client._values.option_files import client_options

    with RetrievalClient(options.url, timeout_s=options.timeout, **client_options(options)) as client:
        results = client.retrieve(
            options.query,
            top_k=options.top_k,
            effort=options.effort,
            filter=options.filter,
            min_score=options.min_score,
            channels=options.channels,
            fusion=options.fusion,
            **page_of(options),
        )
        served = is_served(options.index, client) if wants_index(options) else None
    asked = options.query if options.json else [f"“{query}”" for query in options.query]
    notes = [page_notes(row, options.offset, options.among) for row in results]
    show_results(asked, results, options, served=served, notes=notes)
    return 0
