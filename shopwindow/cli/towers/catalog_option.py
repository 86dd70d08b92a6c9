"""The catalogue of the commands that evaluate and train: the same files as `shopwindow index` reads."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shopwindow.base.default_places import SHOP
from shopwindow.cli.index.reading_options import add_reading, reading_of


def add_catalog(parser: argparse.ArgumentParser, note: str, reading: str = "") -> None:
    """Add --catalog, --catalog-cache, and the options for how the files are read.

    Args:
        parser: the parser to add them to.
        note: what the catalogue is for, for the help.
        reading: text that describes the options for reading.
    """
    parser.add_argument(
        "--catalog",
        type=Path,
        nargs="+",
        default=[SHOP / "products.parquet"],
        metavar="PATH",
        help=f"{note}: files, folders and patterns, as for 'shopwindow index' (default: the demo shop)",
    )
    parser.add_argument(
        "--catalog-cache",
        type=Path,
        metavar="DIR",
        help="folder that keeps catalogues as one parquet file with the photos in it, made of those that are not "
        "(default: shopwindow/catalogues in the user's cache folder)",
    )
    add_reading(parser, reading)


def beside_catalog(options: argparse.Namespace, name: str) -> Path:
    """Return the place of a file beside the catalogue."""
    first: Path = options.catalog[0]
    return first.parent / name


def read_catalog(
    options: argparse.Namespace, *, photos: bool = True, of_index: Mapping[str, Any] | None = None
) -> Path:
    """Return the catalogue as one parquet file, and print what it lacks on standard error.

    Args:
        options: of the command.
        photos: whether the photos are needed.
        of_index: how an index's catalogue was read; counts where the command line says nothing.

    Raises:
        CatalogError: see `shopwindow.indexing.catalogue.plain_catalog`.
    """
    from shopwindow.indexing.catalogue.options import CatalogOptions
    from shopwindow.indexing.catalogue.plain_catalog import plain_catalog

    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    found = plain_catalog(
        options.catalog,
        reading_of(options),
        defaults=CatalogOptions.from_json(of_index or {}),
        photos=photos,
        cache=options.catalog_cache,
        progress=first,
    )
    if first and found.copied:
        named = options.catalog[0] if len(options.catalog) == 1 else f"{len(options.catalog)} inputs"
        print(f"catalog: {named} is read from the copy {found.file}", file=sys.stderr)
        for note in found.notes:
            print(f"catalog: {note}", file=sys.stderr)
    return found.file
