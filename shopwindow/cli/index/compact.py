"""shopwindow compact"""

from __future__ import annotations

import argparse

from shopwindow.cli.common import add_repository
from shopwindow.cli.index.generations import add_force, add_home, await_served
from shopwindow.cli.index.index import RECIPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_home(parser)
    add_repository(parser)
    parser.add_argument("--recipe", choices=RECIPES, help="default: the recipe of the index")
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """Rebuild the index from its stored vectors, and wait until servers use it."""
    from shopwindow.indexing.update.compaction import compact
    from shopwindow.retrieval.embedding.repository_layout import default_index

    home = options.index or default_index(options.repository)
    manifest = compact(home, recipe=options.recipe, force=options.force)
    print(
        f"compacted {home} to {manifest.count} products, recipe {manifest.recipe.factory}, "
        f"recall@100 {manifest.recall_at_100:.4f}, generation {manifest.generation}"
    )
    await_served(home, manifest.generation, options.timeout, options.expect_processes)
    return 0
