"""shopwindow rollback"""

from __future__ import annotations

import argparse

from cli.common import add_repository
from cli.generations import add_home, await_served


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_home(parser)
    add_repository(parser)


def run(options: argparse.Namespace) -> int:
    """Serve the generation before again; run twice, it leads forward again."""
    from retrieval.errors import IndexUnfit
    from retrieval.index_home import IndexHome
    from retrieval.repository_layout import default_index

    home = IndexHome(options.index or default_index(options.repository))
    if home.pointer is None:
        raise IndexUnfit(
            f"{home.path} is not an index home with a served generation: build one with 'shopwindow index'"
        )
    with home.writing():
        pointer = home.rollback()
    print(f"{home.path} is back at generation {pointer.generation}; the same command leads to {pointer.previous} again")
    await_served(home.path, pointer.generation, options.timeout)
    return 0
