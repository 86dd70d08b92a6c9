"""shopwindow update"""

from __future__ import annotations

import argparse
from pathlib import Path

from shopwindow.cli.common import add_repository
from shopwindow.cli.index.generations import add_home, await_served


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_home(parser)
    add_repository(parser)
    parser.add_argument(
        "--changes",
        type=Path,
        metavar="FILE",
        help="parquet with product_id and any of the catalogue's columns; absent columns keep their values",
    )
    parser.add_argument(
        "--remove",
        metavar="FILE|IDS",
        help="products to remove: ids separated by commas, or a file: parquet with product_id, or text, one id a line",
    )
    parser.add_argument(
        "--compact", action="store_true", help="compact the index afterwards, as 'shopwindow compact' does"
    )


def run(options: argparse.Namespace) -> int:
    """Apply the changes, print the counts, and wait until servers use them."""
    from shopwindow.indexing.update.compaction import compact
    from shopwindow.indexing.update.run import update_index
    from shopwindow.retrieval.embedding.repository_layout import default_index

    if options.changes is None and options.remove is None and not options.compact:
        raise ValueError("--changes, --remove: give a file of changes, or products to remove, or both")
    home = options.index or default_index(options.repository)
    generation = None
    if options.changes is not None or options.remove is not None:
        removed = read_ids(options.remove) if options.remove is not None else []
        update = update_index(home, options.repository, changes=options.changes, removed=removed)
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
        if update.compaction_pays and not options.compact:
            print(
                f"{update.manifest.delta} added rows and {update.manifest.dead} removed ones of {update.manifest.rows} "
                "slow searches down: run 'shopwindow compact', or update with --compact"
            )
    if options.compact:
        manifest = compact(home)
        generation = manifest.generation
        print(f"compacted to {manifest.count} products, recipe {manifest.recipe.factory}, generation {generation}")
    if generation is not None:
        await_served(home, generation, options.timeout, options.expect_processes)
    return 0


def read_ids(text: str) -> list[int]:
    """Return the product ids that `--remove` names.

    Args:
        text: ids separated by commas, or a file.

    Raises:
        ValueError: something in it is not an id.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = Path(text)
    if file.suffix == ".parquet":
        try:
            column = pq.read_table(file, columns=["product_id"])["product_id"]
        except (pa.ArrowException, LookupError) as error:
            raise ValueError(f"--remove: {file} is not parquet with a column 'product_id': {error}") from error
        if not pa.types.is_integer(column.type):
            raise ValueError(f"--remove: product_id of {file} must be whole numbers, got {column.type}")
        return [value for value in column.to_pylist() if value is not None]
    parts = file.read_text().split() if file.is_file() else text.split(",")
    try:
        return [int(part) for part in parts if part.strip()]
    except ValueError:
        wrong = next(part for part in parts if part.strip() and not part.strip().lstrip("-").isdecimal())
        raise ValueError(
            f"--remove: must be product ids separated by commas, or a file of them, got {wrong!r}"
        ) from None
