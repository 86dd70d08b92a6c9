"""Show results to people: a table in the terminal, a page with photos."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shopwindow.indexing.catalogue.columns import ID, IMAGE, values
from shopwindow.indexing.catalogue.files import catalog_files
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.folder import read_manifest
from shopwindow.retrieval.index.home import resolve_index
from shopwindow_client import InvalidRequest, Results, RetrievalClient, ServerNotReady, VersionMismatch

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
    """A product as it is displayed. Unknown fields are empty."""

    title: str
    details: str
    image: bytes


def show_results(asked: Sequence[str], results: Results, *, index: Path, served: bool, page_file: Path | None) -> None:
    """Print results, and write the page if `page_file` names one.

    Args:
        asked: what was asked for, a text for each row of the results.
        results: from the client.
        index: index folder to look titles up in; may be missing.
        served: result of `is_served`; if False, nothing is looked up.
        page_file: HTML page to write, or None.
    """
    found = {product_id for row in results for product_id, _ in row}
    products = look_up(index, served, found, images=page_file is not None)
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


def look_up(index: Path, served: bool, product_ids: set[int], *, images: bool) -> dict[int, Shown]:
    """Return titles, attributes and photos of products, from an index and its catalogue.

    The result is empty without an index, or if it is not `served`, because its titles would belong to other products.
    Without the catalogue there are no photos.
    """
    folder = resolve_index(index)
    try:
        manifest = read_manifest(folder)
    except IndexUnfit:
        return {}
    if not served:
        print(f"no titles: {index} is not the index that the server searches; name its folder with --index")
        return {}
    photos = _photos(manifest.catalog, product_ids) if images else {}
    ids = np.load(folder / "product_ids.npy")
    rows = np.flatnonzero(np.isin(ids, list(product_ids)))
    attributes = pq.read_table(folder / "attributes.parquet").take(rows).to_pylist()
    found = {}
    for product_id, about in zip(ids[rows], attributes, strict=True):
        title = about.pop("title", None) or ""
        details = ", ".join(f"{name} {value}" for name, value in about.items() if value is not None)
        found[int(product_id)] = Shown(title=title, details=details, image=photos.get(int(product_id)) or b"")
    return found


def _photos(catalog: str, product_ids: set[int]) -> dict[int, bytes]:
    """Return product -> photo, from the files of the catalogue that still exist. `catalog` is as in the manifest."""
    try:
        files = catalog_files([Path(part) for part in catalog.split(os.pathsep)])
    except CatalogError:
        return {}
    found: dict[int, bytes] = {}
    for file in files:
        if file.exists() and IMAGE in pq.read_schema(file).names:
            wanted = pc.field(ID).isin(list(product_ids))
            for records in pq.read_table(file, columns=[ID, IMAGE], filters=wanted).to_batches():
                for product, photo in zip(values(records, ID, -1), values(records, IMAGE, b""), strict=True):
                    found.setdefault(product, photo)  # if an id is repeated, its first row is indexed
    return found


def table(asked: Sequence[str], results: Results, products: dict[int, Shown]) -> str:
    """Return the results as text: rank, id, score, title."""
    lines = []
    for name, row in zip(asked, results, strict=True):
        lines.append(name)
        for rank, (product_id, score) in enumerate(row, 1):
            shown = products.get(product_id)
            lines.append(f"  {rank:>3}  {product_id:>10}  {score:6.3f}  {shown.title if shown else ''}".rstrip())
        if not row:
            lines.append("  nothing qualifies")
    return "\n".join(lines)


def page(sections: Sequence[str]) -> str:
    """Return a self-contained HTML page of `section`s."""
    head = f"<!doctype html><meta charset=utf-8><title>Shopwindow</title><style>{_STYLE}</style>"
    return "\n".join([head, *sections]) + "\n"


def section(asked: Sequence[str], results: Results, products: dict[int, Shown]) -> str:
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
                f"<b>{html.escape(shown.title)}</b><span>{score:.3f} · {product_id}</span></div>"
            )
        parts.append("</div>")
    return "\n".join(parts)
