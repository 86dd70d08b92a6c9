"""shopwindow milvus"""

from __future__ import annotations

import argparse
from pathlib import Path

from shopwindow.base.default_places import INDEX
from shopwindow.cli.index.generations import add_force


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--index", type=Path, default=INDEX, metavar="DIR", help="index to copy (default: %(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/milvus_index"),
        metavar="DIR",
        help="index folder to serve; it names the collection and holds no products (default: %(default)s)",
    )
    parser.add_argument(
        "--milvus-uri",
        metavar="URI",
        help="http://host:19530, or a file that ends in .db for Milvus Lite (default: SHOPWINDOW_MILVUS_URI); "
        "the token is read from SHOPWINDOW_MILVUS_TOKEN",
    )
    parser.add_argument(
        "--collection",
        default="shopwindow",
        metavar="NAME",
        help="a collection's name is NAME and the generation's number (default: %(default)s)",
    )
    add_force(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds to wait until running servers use the generation (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Copy the index, print the figures, and wait until servers use the new one."""
    from dataclasses import replace

    from shopwindow.cli.index.generations import await_served
    from shopwindow.indexing.full_build.into_milvus import load_into_milvus
    from shopwindow.retrieval.engines import MilvusOptions

    milvus = MilvusOptions.from_environment()
    if options.milvus_uri:
        milvus = replace(milvus, uri=options.milvus_uri)
    manifest = load_into_milvus(options.index, options.out, milvus, prefix=options.collection, force=options.force)
    rate = manifest.count / max(manifest.build_seconds, 1e-9)
    print(
        f"{manifest.count} products ({manifest.dim} dimensions, {manifest.recipe.factory}) are in {milvus.uri} after "
        f"{manifest.build_seconds:.1f} s, {rate:.0f} products/s\n"
        f"recall@100 against exact search, with queries between products: {manifest.recall_at_100:.4f}\n"
        f"wrote {options.out}, generation {manifest.generation}; serve it with SHOPWINDOW_MILVUS_URI set"
    )
    await_served(options.out, manifest.generation, options.timeout)
    return 0
