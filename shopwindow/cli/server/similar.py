"""shopwindow similar"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopwindow.cli.common import add_search, add_url

if TYPE_CHECKING:
    from shopwindow_client import Results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--image", type=Path, metavar="FILE", help="a JPEG, PNG or WebP photo")
    parser.add_argument("--title", help="a product's title, or words that change the photo")
    add_url(parser)
    add_search(parser)
    parser.add_argument(
        "--same",
        type=float,
        metavar="S",
        help="list products that score S or more separately, as the same product",
    )
    parser.add_argument(
        "--supplier", metavar="ID", help="leave out this supplier's products; a number, or a text ('\"17\"' is a text)"
    )
    parser.add_argument(
        "--supplier-column", default="supplier_id", metavar="NAME", help="column of --supplier (default: %(default)s)"
    )
    parser.add_argument(
        "--without", metavar="ID", help="leave out the product with this id, usually the one you ask about"
    )


def run(options: argparse.Namespace) -> int:
    """Retrieve, print, and write the page."""
    from shopwindow.cli.server.show import is_served, show_results
    from shopwindow_client import RetrievalClient
    from shopwindow_client._values.option_files import client_options

    with RetrievalClient(options.url, timeout_s=options.timeout, **client_options(options)) as client:
        results = client.retrieve_similar(
            title=options.title,
            image=options.image,
            # One more, because the product itself would take a place.
            top_k=options.top_k + (options.without is not None),
            effort=options.effort,
            filter=_filter(options),
            min_score=options.min_score,
        )
        served = is_served(options.index, client)
    asked = " + ".join(
        part for part in (options.image and options.image.name, options.title and f"“{options.title}”") if part
    )
    names, results = _lists(asked, results, options)
    show_results(names, results, index=options.index, served=served, page_file=options.html, beside=options.show)
    return 0


def _filter(options: argparse.Namespace) -> Any:
    """Return the filter of --filter, limited to other suppliers if --supplier is given."""
    if options.supplier is None:
        return options.filter
    try:
        supplier = json.loads(options.supplier)
    except ValueError:
        supplier = options.supplier
    others = {options.supplier_column: {"ne": supplier}}
    if options.filter is None:
        return others
    try:
        return {"and": [json.loads(options.filter), others]}
    except ValueError as error:
        raise ValueError(f"filter: not valid JSON ({error}): {options.filter!r}") from None


def _shop_id(given: str, results: Results) -> int | str:
    """Return an id as the results have it: a text, or a whole number."""
    if results.keys is not None:
        return given
    try:
        return int(given)
    except ValueError:
        raise ValueError(f"--without: the ids of the index are whole numbers, got {given!r}") from None


def _lists(asked: str, results: Results, options: argparse.Namespace) -> tuple[list[str], Results]:
    """Return the names of the lists to show, and the lists."""
    import numpy as np

    from shopwindow_client import Results

    if options.without is not None:
        kept = results.without(_shop_id(options.without, results))
        best = slice(options.top_k)
        keys = None if kept.keys is None else kept.keys[:, best]
        results = Results(kept.ids[:, best], kept.scores[:, best], keys=keys)
    if options.same is None:
        return [asked], results
    lists = results.split(options.same)
    keys = None if results.keys is None else np.concatenate([part.keys for part in lists])
    both = Results(
        np.concatenate([part.ids for part in lists]), np.concatenate([part.scores for part in lists]), keys=keys
    )
    return [f"{asked}: the same product", f"{asked}: similar products"], both
