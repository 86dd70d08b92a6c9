"""shopwindow update"""

from __future__ import annotations

import argparse
from pathlib import Path

from shopwindow.cli.common import add_repository
from shopwindow.cli.index.generations import add_force, add_home, await_served
from shopwindow.cli.index.reading_options import add_reading, reading_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_home(parser)
    add_repository(parser)
    parser.add_argument(
        "--changes",
        type=Path,
        metavar="FILE",
        help="file like a catalogue, with product_id and any of its columns; absent columns keep their values",
    )
    add_reading(parser, "Options that are not given are those that the index was built with.")
    parser.add_argument(
        "--remove",
        metavar="FILE|IDS",
        help="products to remove: ids separated by commas, or a file: text with an id a line, or any format of a "
        "catalogue with product_id",
    )
    parser.add_argument(
        "--compact", action="store_true", help="compact the index afterwards, as 'shopwindow compact' does"
    )
    add_force(parser)


def run(options: argparse.Namespace) -> int:
    """Apply the changes, print the counts, and wait until servers use them."""
    from shopwindow.indexing.errors import RecallTooLow
    from shopwindow.indexing.update.compaction import compact
    from shopwindow.indexing.update.removed import read_removed
    from shopwindow.indexing.update.run import update_index
    from shopwindow.retrieval.embedding.repository_layout import default_index

    if options.changes is None and options.remove is None and not options.compact:
        raise ValueError("--changes, --remove: give a file of changes, or products to remove, or both")
    home = options.index or default_index(options.repository)
    generation = None
    if options.changes is not None or options.remove is not None:
        removed = read_removed(options.remove, home) if options.remove is not None else []
        update = update_index(
            home, options.repository, changes=options.changes, reading=reading_of(options), removed=removed
        )
        generation = update.generation
        print(
            f"added {update.added}, embedded again {update.embedded_again}, attributes only {update.attributes_only}, "
            f"removed {update.removed} products\n"
            + (f"wrote {home}, generation {generation}, " if update.published else f"generation {generation} stays, ")
            + f"{update.manifest.count} products"
        )
        if update.unknown:
            some = ", ".join(map(str, update.unknown[:5])) + (", …" if len(update.unknown) > 5 else "")
            print(f"not in the index, so not removed: {len(update.unknown)} ({some})")
        if update.skipped and not update.published:
            print(f"skipped {update.skipped} rows, for example {'; '.join(update.reasons)}")
        elif update.skipped:
            from shopwindow.retrieval.index.home import resolve_index

            listed = resolve_index(home) / "skipped.csv"
            print(f"skipped {update.skipped} rows, listed with reasons in {listed}")
        if update.unread_photos and update.published:
            from shopwindow.retrieval.index.home import resolve_index

            print(
                f"products with photos that cannot be read: {update.unread_photos}; they are indexed without these, "
                f"and listed with reasons in {resolve_index(home) / 'unread_photos.csv'}"
            )
        if update.compaction_pays and not options.compact:
            print(
                f"{update.manifest.delta} added rows and {update.manifest.dead} removed ones of {update.manifest.rows} "
                "slow searches down: run 'shopwindow compact', or update with --compact"
            )
    if options.compact:
        try:
            manifest = compact(home, force=options.force)
        except RecallTooLow:
            if generation is not None:  # the update itself was published
                await_served(home, generation, options.timeout, options.expect_processes)
            raise
        generation = manifest.generation
        print(f"compacted to {manifest.count} products, recipe {manifest.recipe.factory}, generation {generation}")
    if generation is not None:
        await_served(home, generation, options.timeout, options.expect_processes)
    return 0
