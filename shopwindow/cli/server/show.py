"""Show results to people: a table in the terminal, a page with photos."""

from __future__ import annotations

import argparse
import base64
import html
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.product_keys import number_of
from shopwindow.cli.server.page_table import has_columns, page_columns, written
from shopwindow.indexing.catalogue.files import catalog_files
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.embedding.folding import without_markup
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.folder import Manifest, read_manifest
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.index.product_keys import read_keys
from shopwindow_client import InvalidRequest, RetrievalClient, Row, ServerNotReady, VersionMismatch
from shopwindow_client._values.printable import printable

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; color: #222; background: #fafafa;
       max-width: 1100px; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2rem 0 .6rem; font-weight: 600 } h2 small { color: #777; font-weight: 400 }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px }
.card { background: #fff; border: 1px solid #e4e4e4; border-radius: 8px; padding: 10px; font-size: 13px }
.card img, .blank { width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff }
.card b { display: block; margin: .3rem 0; font-weight: 500 } .card span { color: #777 }
""".strip()


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A product as it is displayed. Unknown fields are empty. `beside` holds attributes to print beside the title."""

    title: str
    details: str
    image: bytes
    beside: str = ""

    @property
    def line(self) -> str:
        """The title and what is beside it."""
        return self.title + self.beside


_UNKNOWN = Shown(title="", details="", image=b"")


def show_results(
    asked: Sequence[str],
    rows: Iterable[Row],
    options: argparse.Namespace,
    *,
    served: bool | None,
    notes: Sequence[Sequence[str]] = (),
) -> None:
    """Print results, and write the page if --html names one.

    Args:
        asked: what was asked for, a text for each row.
        rows: the rows of results from the client.
        options: of `add_search` and `add_page`.
        served: result of `is_served`; if False, nothing is looked up in the index folder. None: nothing is wanted.
        notes: lines to print below each row.

    Raises:
        ValueError: the index has no attribute of --show.
    """
    rows = list(rows)
    products: dict[Any, Shown] = {}
    if served is not None:
        found = {product_id for row in rows for product_id, _ in row}
        images = options.html is not None
        with redirect_stdout(sys.stderr) if options.json else nullcontext():
            products = look_up(options.index, served, found, images=images, beside=options.show)
    if options.json:
        pages = [{"asked": name, **row.to_dict()} for name, row in zip(asked, rows, strict=True)]
        print(json.dumps(pages, indent=2, allow_nan=False))
    else:
        print(table(asked, rows, products, notes=notes, skipped=options.offset or 0))
    if options.html is not None:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        options.html.write_text(page([section(asked, rows, products)]))
        print(f"wrote {options.html}", file=sys.stderr if options.json else sys.stdout)


def wants_index(options: argparse.Namespace) -> bool:
    """Return whether the index folder is needed: for photos, --show, or titles that the server does not send."""
    return options.html is not None or bool(options.show) or not (options.fields or options.json)


def is_served(index: Path, client: RetrievalClient) -> bool:
    """Return whether the server searches with the towers of this index. The index may be missing.

    A search that names the towers finds out. `info` would not do: it names the towers that the server started with, and
    an index may have brought others since.
    """
    try:
        manifest = read_manifest(index)
        client.retrieve_by_embedding(np.eye(1, manifest.dim), top_k=1, towers=manifest.tower_hash)
    except (IndexUnfit, InvalidRequest, ServerNotReady, VersionMismatch):
        return False
    return True


def look_up(
    index: Path, served: bool, product_ids: set[Any], *, images: bool, beside: Sequence[str] = ()
) -> dict[Any, Shown]:
    """Return titles, attributes and photos of products, from an index and its catalogue.

    Products are named as the shop names them, by whole numbers or texts. The result is empty without an index, or if it
    is not `served`, because its titles would belong to other products. Without the catalogue there are no photos.

    Raises:
        ValueError: the index lacks an attribute of `beside`.
    """
    folder = resolve_index(index)
    try:
        manifest = read_manifest(folder)
    except IndexUnfit:
        return {}
    if not served:
        print(f"no titles: {index} is not the index that the server searches; name its folder with --index")
        return {}
    photos = _photos(manifest, product_ids) if images else {}
    ids = np.load(folder / "product_ids.npy")
    rows = np.flatnonzero(np.isin(ids, [number_of(product) for product in product_ids]))
    keys = read_keys(folder)
    names = ids[rows].tolist() if keys is None else keys.take(pa.array(rows)).to_pylist()
    table = pq.read_table(folder / "attributes.parquet")
    columns, attributes = table.column_names, table.take(rows).to_pylist()
    if absent := [name for name in beside if name not in columns]:
        raise ValueError(f"--show: the index has no attribute {absent[0]!r}; it has {', '.join(columns)}")
    found = {}
    for product_id, about in zip(names, attributes, strict=True):
        told = "".join(f"  {n} {written(about[n])}" for n in beside if about[n] not in (None, []))
        title = without_markup(about.pop("title", None) or "")
        details = ", ".join(f"{name} {written(value)}" for name, value in about.items() if _told(value))
        image = photos.get(product_id) or b""
        found[product_id] = Shown(title=title, details=details, image=image, beside=told)
    return found


def _told(value: Any) -> bool:
    """Return whether there is a value to tell. Bytes say where a photo is, which is shown itself."""
    return value not in (None, []) and not isinstance(value, bytes)


def _photos(manifest: Manifest, product_ids: set[Any]) -> dict[Any, bytes]:
    """Return product -> photo, from the files of the catalogue that still exist."""
    # One path may hold a colon, too. `Path.exists` would fail on a list that is longer than a path may be.
    catalog = manifest.catalog
    inputs = [catalog] if os.path.exists(catalog) else catalog.split(os.pathsep)  # noqa: PTH110
    try:
        files = [file for file in catalog_files([Path(one) for one in inputs]) if file.exists()]
        return Catalog(files, CatalogOptions.from_json(manifest.reading)).photos_of(product_ids)
    except CatalogError:
        return {}


def table(
    asked: Sequence[str],
    rows: Iterable[Row],
    products: dict[Any, Shown],
    *,
    notes: Sequence[Sequence[str]] = (),
    skipped: int = 0,
) -> str:
    """Return results as text: place, id, score, title, and what is beside it. Nothing in them steers a terminal.

    Args:
        asked: what was asked for, a text for each row.
        rows: the rows of results.
        products: what `look_up` found.
        notes: lines to add below each row.
        skipped: places of the ranking before the first product.
    """
    lines = []
    for number, (name, row) in enumerate(zip(asked, rows, strict=True)):
        lines.append(printable(name))
        shown = [products.get(product_id, _UNKNOWN) for product_id in row.products]
        beside = [f"  {printable(one.line)}" for one in shown]
        if has_columns(row) and len(row):
            head, *columns = page_columns(row, [one.title for one in shown])
            lines.append(f"  {'':>3}  {'id':>10}  {'score':>6}{head}")
            beside = [text + printable(one.beside) for text, one in zip(columns, shown, strict=True)]
        for place, ((product_id, score), text) in enumerate(zip(row, beside, strict=True), skipped + 1):
            lines.append(f"  {place:>3}  {printable(str(product_id)):>10}  {score:6.3f}{text}".rstrip())
        if not row:
            lines.append("  nothing qualifies" if not skipped else "  nothing at these places")
        lines += notes[number] if notes else ()
    return "\n".join(lines)


def page(sections: Sequence[str]) -> str:
    """Return a self-contained HTML page of `section`s."""
    head = f"<!doctype html><meta charset=utf-8><title>Shopwindow</title><style>{_STYLE}</style>"
    return "\n".join([head, *sections]) + "\n"


def section(asked: Sequence[str], rows: Iterable[Row], products: dict[Any, Shown]) -> str:
    """Return results as HTML: a heading and a row of cards for each row."""
    parts = []
    for name, row in zip(asked, rows, strict=True):
        parts.append(f"<h2>{html.escape(name)} <small>{len(row)} products</small></h2><div class=row>")
        for product_id, score in row:
            shown = products.get(product_id, _UNKNOWN)
            photo = base64.b64encode(shown.image).decode()
            picture = f'<img alt="" src="data:image;base64,{photo}">' if photo else "<div class=blank></div>"
            parts.append(
                f'<div class=card title="{html.escape(shown.details)}">{picture}'
                f"<b>{html.escape(shown.line)}</b><span>{score:.3f} · {html.escape(str(product_id))}</span></div>"
            )
        parts.append("</div>")
    return "\n".join(parts)
