"""shopwindow index"""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.common import INDEX, SHOP, add_repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--catalog",
        type=Path,
        default=SHOP / "products.parquet",
        metavar="FILE",
        help="parquet with product_id, title, image and attribute columns (default: the demo shop)",
    )
    add_repository(parser)
    parser.add_argument("--out", type=Path, default=INDEX, metavar="DIR", help="index folder (default: %(default)s)")
    parser.add_argument("--recipe", choices=["flat", "hnsw", "ivf"], help="default: chosen by the number of products")


def run(options: argparse.Namespace) -> int:
    """Build the index and say what came out."""
    from export.index import build_index

    manifest = build_index(options.catalog, options.repository, options.out, recipe=options.recipe)
    recipe = manifest.recipe
    breadth = f", breadth {recipe.search_breadth} of {recipe.max_breadth}" if recipe.max_breadth else ""
    print(
        f"indexed {manifest.count} products ({manifest.dim} dimensions, recipe {recipe.factory}{breadth}) "
        f"in {manifest.build_seconds:.1f} s, {manifest.count / max(manifest.build_seconds, 1e-9):.0f} products/s\n"
        f"recall@100 against exact search: {manifest.recall_at_100:.4f}\n"
        f"wrote {options.out}, generation {manifest.generation}"
    )
    if manifest.skipped:
        print(f"skipped {manifest.skipped} rows, listed with reasons in {options.out / 'skipped.csv'}")
    return 0
