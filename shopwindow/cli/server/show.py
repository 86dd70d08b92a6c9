"""Show results to people: a table in the terminal, a page with photos."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.product_keys import number_of
from shopwindow.indexing.catalogue.files import catalog_files
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.embedding.folding import without_markup
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.folder import Manifest, read_manifest
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.index.product_keys import read_keys
from shopwindow_client import InvalidRequest, Results, RetrievalClient, ServerNotReady, VersionMismatch
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


def show_results(
    asked: Sequence[str],
    results: Results,
    *,
    index: Path,
    served: bool,
    page_file: Path | None,
    beside: Sequence[str] = (),
) -> None:
    """Print results, and write the page if `page_file` names one.

    Args:
        asked: what was asked for, a text for each row of the results.
        results: from the client.
        index: index folder to look titles up in; may be missing.
        served: result of `is_served`; if False, nothing is looked up.
        page_file: HTML page to write, or None.
        beside: attributes to print beside the titles.

    Raises:
        ValueError: the index has no such attribute.
    """
    found = {product_id for row in results for product_id, _ in row}
    products = look_up(index, served, found, images=page_file is not None, beside=beside)
    print(table(asked, results, products))
    if page_file is not None:
        page_file.parent.mkdir(parents=True, exist_ok=True)
        page_file.write_text(page([section(asked, results, products)]))
        print(f"wrote {page_file}")


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
        told = "".join(f"  {n} {_written(about[n])}" for n in beside if about[n] not in (None, []))
        title = without_markup(about.pop("title", None) or "")
        details = ", ".join(f"{name} {_written(value)}" for name, value in about.items() if _told(value))
        image = photos.get(product_id) or b""
        found[product_id] = Shown(title=title, details=details, image=image, beside=told)
    return found


def _told(value: Any) -> bool:
    """Return whether there is a value to tell. Bytes say where a photo is, which is shown itself."""
    return value not in (None, []) and not isinstance(value, bytes)


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


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


def table(asked: Sequence[str], results: Results, products: dict[Any, Shown]) -> str:
    """Return the results as text: rank, id, score, title, and what is beside it. Nothing in them steers a terminal."""
    lines = []
    for name, row in zip(asked, results, strict=True):
        lines.append(printable(name))
        for rank, (product_id, score) in enumerate(row, 1):
            title = printable(products[product_id].line) if product_id in products else ""
            lines.append(f"  {rank:>3}  {printable(str(product_id)):>10}  {score:6.3f}  {title}".rstrip())
        if not row:
            lines.append("  nothing qualifies")
    return "\n".join(lines)


def page(sections: Sequence[str]) -> str:
    """Return a self-contained HTML page of `section`s."""
    head = f"<!doctype html><meta charset=utf-8><title>Shopwindow</title><style>{_STYLE}</style>"
    return "\n".join([head, *sections]) + "\n"


def section(asked: Sequence[str], results: Results, products: dict[Any, Shown]) -> str:
    """Return the results as HTML: a heading and a row of cards for each row."""
    parts = []
    for name, row in zip(asked, results, strict=True):
        parts.append(f"<h2>{html.escape(name)} <small>{len(row)} products</small></h2><div class=row>")
        for product_id, score in row:
            shown = products.get(product_id, Shown(title="", details="", image=b""))
            photo = base64.b64encode(shown.image).decode()
            picture = f'<img alt="" src="data:image;base64,{photo}">' if photo else "<div class=blank></div>"
            parts.append(
                f'<div class=card title="{html.escape(shown.details)}">{picture}'
                f"<b>{html.escape(shown.line)}</b><span>{score:.3f} · {html.escape(str(product_id))}</span></div>"
            )
        parts.append("</div>")
    return "\n".join(parts)
