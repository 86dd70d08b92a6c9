"""Show a page of results as a shop asks for it: columns, counts, one product of each style, what is in stock first."""

from __future__ import annotations

from shopwindow.cli.server.page_table import page_columns, page_notes
from shopwindow_client import Results, RetrievalClient, SearchOptions

_PLACES = 4
_PAGE: SearchOptions = {
    "top_k": _PLACES,
    "fields": ["title", "price", "stock"],
    "collapse": "style",
    "boost": [{"if": {"stock": {"gt": 0}}, "add": 0.2}],
}


def show_page(client: RetrievalClient, query: str = "red dress") -> None:
    """Print two pages of results for a query, and what is like the second product."""
    red: SearchOptions = {**_PAGE, "filter": {"colour": "red"}, "total": True}
    facets = {"colour": 4, "price": {"ranges": [None, 25, 50, 100, None]}}
    page_one: SearchOptions = {**red, "offset": 0, "facets": facets}
    first = client.retrieve(query, **page_one)
    _print(f"“{query}”, only red, one product of each style, in stock first", first, 0)
    assert first.generation is not None
    page_two: SearchOptions = {**red, "offset": _PLACES, "generation": int(first.generation[0])}
    _print("page two", client.retrieve(query, **page_two), _PLACES)
    liked = first[0].products[1]
    _print(f"more like the second product, {liked}", client.retrieve_like(liked, **_PAGE), None)


def _print(heading: str, results: Results, offset: int | None) -> None:
    (row,) = results
    head, *lines = page_columns(row, [])
    print(f"{heading}\n{'':>21}{head}")
    for place, ((product, score), line) in enumerate(zip(row, lines, strict=True), (offset or 0) + 1):
        print(f"  {place:>3}  {product:>8}  {score:.3f}{line}")
    print("\n".join([*page_notes(row, offset), ""]))
