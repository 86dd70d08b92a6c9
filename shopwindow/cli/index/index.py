"""shopwindow index"""

from __future__ import annotations

import argparse
from pathlib import Path

from shopwindow.base.default_places import SHOP
from shopwindow.cli.common import add_repository
from shopwindow.cli.index.generations import add_force, add_waiting, await_served
from shopwindow.cli.index.reading_options import add_reading, reading_of

# As `shopwindow.retrieval.engines.recipes.KINDS`, whose import would load FAISS for --help.
RECIPES = ("flat", "hnsw", "ivf", "ivf-sq8", "ivf-pq32")
MIB, GIB = 2**20, 2**30
MILLION = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--catalog",
        type=Path,
        nargs="+",
        default=[SHOP / "products.parquet"],
        metavar="PATH",
        help="parquet, CSV, TSV or JSON lines with product_id, title, image and attribute columns: files, folders and "
        "patterns such as 'shop/*.parquet' (default: the demo shop)",
    )
    add_reading(parser)
    add_repository(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="index home (default: `index` beside the repository)")
    parser.add_argument("--recipe", choices=RECIPES, help="default: chosen by the number of products and the memory")
    parser.add_argument("--recipes", action="store_true", help="print what each recipe costs, and do nothing else")
    parser.add_argument(
        "--memory",
        type=_gib,
        metavar="GIB",
        help="memory for the index while it is built (default: 70%% of the free memory)",
    )
    parser.add_argument(
        "--with-towers",
        action="store_true",
        help="store the repository's towers in the index; a server with other towers (profile cpu) then switches to "
        "both at once",
    )
    parser.add_argument(
        "--stop-words",
        type=Path,
        metavar="FILE",
        help="text file of words that the lexical channel does not compare, such as 'for' (default: the English and "
        "Chinese ones); an empty file keeps all words",
    )
    parser.add_argument(
        "--if-changed",
        action="store_true",
        help="build nothing if the current index was built from the same catalogue (path, size and date of its files) "
        "and towers, with the same options for reading, --recipe, --with-towers and --stop-words; updates made since "
        "then stay",
    )
    add_force(parser)
    add_waiting(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--server", metavar="HOST:PORT", help="embed through the gRPC port of a running server instead of here"
    )
    where.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="embed on a Ray cluster whose nodes share this file system (without ADDRESS: a cluster on this machine)",
    )


def run(options: argparse.Namespace) -> int:
    """Build the index, print its figures, and wait until servers use it."""
    from shopwindow.indexing.full_build.run import build_index, built_already
    from shopwindow.indexing.full_build.search_breadth import PROMISED_RECALL
    from shopwindow.retrieval.embedding.repository_layout import default_index
    from shopwindow.retrieval.index.home import resolve_index

    if options.recipes:
        print(recipe_table(_dimension(options.repository)))
        return 0
    out = options.out or default_index(options.repository)
    reading = reading_of(options)
    if options.if_changed:
        settings = {
            "reading": reading,
            "recipe": options.recipe,
            "with_towers": options.with_towers,
            "stop_words": options.stop_words,
        }
        if kept := built_already(options.catalog, options.repository, out, **settings):
            print(f"kept {out}, generation {kept.generation}: it was built from this catalogue with these towers")
            # The run that published it may have ended before servers used it.
            await_served(out, kept.generation, options.timeout, options.expect_processes)
            return 0
    manifest = build_index(
        options.catalog,
        options.repository,
        out,
        reading=reading,
        recipe=options.recipe,
        memory=options.memory,
        server=options.server,
        ray=options.ray,
        with_towers=options.with_towers,
        stop_words=options.stop_words,
        force=options.force,
        say=print,
    )
    recipe = manifest.recipe
    breadth = f", breadth {recipe.search_breadth} of {recipe.max_breadth}" if recipe.max_breadth else ""
    rate = f", {manifest.count / manifest.build_seconds:.0f} products/s" if manifest.build_seconds else ""
    print(
        f"indexed {manifest.count} products ({manifest.dim} dimensions, recipe {recipe.factory}{breadth}) "
        f"in {manifest.build_seconds:.1f} s{rate}\n"
        f"recall@100 against exact search: {manifest.recall_at_100:.4f}\n"
        f"memory: {recipe.bytes_per_vector(manifest.dim):.0f} bytes a vector, towers {manifest.tower_hash[:12]}\n"
        f"wrote {out}, generation {manifest.generation}"
    )
    if manifest.recall_at_100 < PROMISED_RECALL:
        print(f"warning: recall@100 is below {PROMISED_RECALL}, and --force published it all the same")
    if manifest.skipped:
        print(f"skipped {manifest.skipped} rows, listed with reasons in {resolve_index(out) / 'skipped.csv'}")
    if manifest.unread_photos:
        print(
            f"products with photos that cannot be read: {manifest.unread_photos}; they are indexed without these, and "
            f"listed with reasons in {resolve_index(out) / 'unread_photos.csv'}"
        )
    await_served(out, manifest.generation, options.timeout, options.expect_processes)
    return 0


def recipe_table(dim: int) -> str:
    """Return a table of what each recipe costs for a million vectors of `dim` dimensions."""
    from shopwindow.retrieval.engines.recipes import LOSSES, choose_recipe

    lines = [
        f"for a million vectors of {dim} dimensions; their vectors.npy takes {4 * dim * MILLION / MIB:.0f} MiB of disk",
        f"{'recipe':<10}{'MiB memory':>12}{'vectors scored':>17}   gives up",
    ]
    for kind in RECIPES:
        recipe = choose_recipe(MILLION, kind)
        memory = recipe.bytes_per_vector(dim) * MILLION / MIB
        lines.append(f"{kind:<10}{memory:>12.0f}{recipe.share_scored(MILLION):>17.1%}   {LOSSES[kind]}")
    return "\n".join(
        [*lines, "vectors scored: by one search, before calibration widens it to reach a recall@100 of 0.98"]
    )


def _dimension(repository: Path) -> int:
    from shopwindow.retrieval.embedding.bundle import Bundle

    return Bundle.read(repository).embedding_dim if repository.is_dir() else 128


def _gib(text: str) -> int:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of GiB above 0, got {text!r}")
    return int(size * GIB)
