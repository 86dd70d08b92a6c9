"""shopwindow index"""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.common import SHOP, add_repository

# As `retrieval.recipes.KINDS`, whose import would load FAISS for --help.
RECIPES = ("flat", "hnsw", "ivf", "ivf-sq8", "ivf-pq32")


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
    parser.add_argument("--out", type=Path, metavar="DIR", help="index folder (default: `index` beside the repository)")
    parser.add_argument("--recipe", choices=RECIPES, help="default: chosen by the number of products")


def run(options: argparse.Namespace) -> int:
    """Build the index and say what came out."""
    from export.index import PROMISED_RECALL, build_index
    from retrieval.repository_layout import default_index

    out = options.out or default_index(options.repository)
    manifest = build_index(options.catalog, options.repository, out, recipe=options.recipe)
    recipe = manifest.recipe
    breadth = f", breadth {recipe.search_breadth} of {recipe.max_breadth}" if recipe.max_breadth else ""
    print(
        f"indexed {manifest.count} products ({manifest.dim} dimensions, recipe {recipe.factory}{breadth}) "
        f"in {manifest.build_seconds:.1f} s, {manifest.count / max(manifest.build_seconds, 1e-9):.0f} products/s\n"
        f"recall@100 against exact search: {manifest.recall_at_100:.4f}\n"
        f"wrote {out}, generation {manifest.generation}"
    )
    if manifest.recall_at_100 < PROMISED_RECALL:
        print(f"warning: recall@100 is below {PROMISED_RECALL}; try --recipe flat (exact) or another one")
    if manifest.unfilterable:
        print(f"not filterable, as of their types: {', '.join(manifest.unfilterable)}")
    if manifest.skipped:
        print(f"skipped {manifest.skipped} rows, listed with reasons in {out / 'skipped.csv'}")
    return 0
