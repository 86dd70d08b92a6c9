"""shopwindow similar"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopwindow.cli.common import add_search, add_url
from shopwindow.cli.server.page_options import add_page, like_of, page_of

if TYPE_CHECKING:
    from shopwindow_client import Results, RetrievalClient, Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--image", type=Path, metavar="FILE", help="a JPEG, PNG or WebP photo")
    parser.add_argument("--title", help="a product's title, or words that change the photo")
    parser.add_argument(
        "--like",
        metavar="ID[=WEIGHT],...",
        help="products of the index to find others like, instead of a photo and a title; below 0 a weight leads away",
    )
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
    add_page(parser)


def run(options: argparse.Namespace) -> int:
    """Retrieve, print, and write the page."""
    from shopwindow.cli.server.page_table import page_notes
    from shopwindow.cli.server.show import is_served, show_results, wants_index
    from shopwindow_client import RetrievalClient
    from shopwindow_client._values.option_files import client_options

    with RetrievalClient(options.url, timeout_s=options.timeout, **client_options(options)) as client:
        results = _search(client, options)
        served = is_served(options.index, client) if wants_index(options) else None
    parts = (options.image and options.image.name, options.title and f"“{options.title}”")
    asked = " + ".join(filter(None, parts)) or f"like {options.like}"
    notes = page_notes(results[0], options.offset, options.among)
    names, rows = _lists(asked, results, options)
    show_results(names, rows, options, served=served, notes=[*[[]] * (len(rows) - 1), notes])
    return 0


def _search(client: RetrievalClient, options: argparse.Namespace) -> Results:
    # One more, because the product itself would take a place.
    top_k = options.top_k + (options.without is not None)
    given: dict[str, Any] = {"top_k": top_k, "effort": options.effort, "min_score": options.min_score}
    given |= {"filter": _filter(options), **page_of(options)}
    if options.like is None:
        return client.retrieve_similar(title=options.title, image=options.image, **given)
    if options.image is not None or options.title is not None:
        raise ValueError("--like: names products of the index; --image and --title ask for others, so give one of both")
    return client.retrieve_like(like_of(options.like), **given)


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


def _lists(asked: str, results: Results, options: argparse.Namespace) -> tuple[list[str], list[Row]]:
    """Return the names of the lists to show, and the lists."""
    if options.without is not None:
        results = results.without(_shop_id(options.without, results))
        if len(results[0]) > options.top_k:  # it was not among them
            results = results.without(results[0].products[-1])
    if options.same is None:
        return [asked], list(results)
    names = [f"{asked}: the same product", f"{asked}: similar products"]
    return names, [part[0] for part in results.split(options.same)]
