"""shopwindow rollback"""

from __future__ import annotations

import argparse

from shopwindow.cli.common import add_repository
from shopwindow.cli.index.generations import add_home, await_served


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_home(parser)
    add_repository(parser)
    parser.add_argument("--to", type=int, metavar="N", help="generation to serve (default: the previous one)")


def run(options: argparse.Namespace) -> int:
    """Serve the previous generation again, or another one that is still on disk. Run it again to undo that.

    With --to, it also writes a CURRENT that is missing or damaged anew.
    """
    from shopwindow.retrieval.embedding.repository_layout import default_index
    from shopwindow.retrieval.errors import IndexUnfit
    from shopwindow.retrieval.index.home import IndexHome

    home = IndexHome(options.index or default_index(options.repository))
    before = None
    try:
        before = home.pointer
    except IndexUnfit:
        if options.to is None:
            raise
    if before is None and (options.to is None or not home.generations):
        raise IndexUnfit(
            f"{home.path} is not an index home with a served generation: build one with 'shopwindow index'"
        )
    pointer = home.rollback(options.to)
    print(f"{home.path} is back at generation {pointer.generation}")
    if pointer.previous is not None:
        print(f"'shopwindow rollback' goes back to generation {pointer.previous}")
    before = before or pointer
    await_served(home.path, pointer.generation, options.timeout, options.expect_processes, before=before)
    return 0
