"""The report of `shopwindow duplicates`: .parquet and .json for programs, .html with photos for people."""

from __future__ import annotations

import html
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.cli.server.show import look_up, page, section
from shopwindow.retrieval.duplicates.groups import EXACT_PRODUCTS, NEIGHBOURS, Groups
from shopwindow.retrieval.duplicates.labelled_pairs import Agreement
from shopwindow.retrieval.index.folder import IndexFolder
from shopwindow.retrieval.index.product_keys import keys_of
from shopwindow_client import Results

SHOWN_GROUPS = 50
SHOWN_PRODUCTS = 12


@dataclass(frozen=True, kw_only=True)
class Report:
    """The groups that were found, and how.

    Attributes:
        folder: the index.
        suppliers: (rows,) int32, the supplier of each row of the index; -1 for rows that were left out.
        groups: see `Groups`.
        column: the attribute column of the supplier; None without one.
        threshold: lowest cosine of a link.
        across: whether different suppliers were compared.
        seconds: the time that the search for groups took.
        agreement: the agreement with labelled pairs; None without such pairs.
    """

    folder: IndexFolder
    suppliers: np.ndarray
    groups: Groups
    column: str | None
    threshold: float
    across: bool
    seconds: float
    agreement: Agreement | None

    @property
    def exact(self) -> bool:
        """Whether all pairs were compared. If there were too many, a search found the candidates instead."""
        sizes = np.bincount(self.suppliers[self.suppliers >= 0])
        largest = sizes.sum() if self.across else sizes.max(initial=0)
        return bool(largest <= EXACT_PRODUCTS)

    def to_json(self) -> dict[str, Any]:
        """Return the figures, without the groups."""
        sizes = self.groups.sizes
        figures: dict[str, Any] = {
            "index": {"generation": self.folder.manifest.generation, "tower_hash": self.folder.manifest.tower_hash},
            "threshold": self.threshold,
            "across": self.across,
            "supplier_column": self.column,
            "products": self.groups.compared,
            "left_out": self.folder.manifest.count - self.groups.compared,
            "suppliers": len(np.unique(self.suppliers[self.suppliers >= 0])),
            "groups": len(sizes),
            "products_in_groups": int(sizes.sum()),
            "surplus": int(sizes.sum()) - len(sizes),
            "largest_group": int(sizes.max(initial=0)),
            "groups_by_size": {str(size): int(count) for size, count in enumerate(np.bincount(sizes)) if count},
            "exact": self.exact,
            "seconds": round(self.seconds, 2),
        }
        if self.agreement is not None:
            rates = {"precision": self.agreement.precision, "recall": self.agreement.recall}
            figures["pairs"] = asdict(self.agreement) | rates
        return figures

    def __str__(self) -> str:
        """Return the figures in a few lines."""
        figures = self.to_json()
        suppliers = f" of {figures['suppliers']} suppliers" if self.column else ""
        lines = [
            f"compared {figures['products']} products{suppliers} in {self.seconds:.1f} s: {figures['groups']} groups "
            f"of {figures['products_in_groups']} products"
            + ("" if self.across else f", {figures['surplus']} of them surplus")
        ]
        if figures["left_out"]:
            lines.append(f"left out {figures['left_out']} products without a {self.column}")
        if not self.exact:
            whole = self.across or not self.column
            what, whose = ("the catalogue was", "its") if whole else ("some suppliers were", "their")
            lines.append(
                f"{what} too large to compare all pairs: {whose} products were compared only with the {NEIGHBOURS} "
                "nearest that the index finds"
            )
        if self.agreement is not None:
            lines.append(
                f"against {self.agreement.labelled} labelled pairs: precision {_share(self.agreement.precision)} "
                f"({self.agreement.right} of {self.agreement.judged}), recall {_share(self.agreement.recall)}"
            )
        return "\n".join(lines)


def write_report(out: Path, report: Report, index: Path) -> list[Path]:
    """Write the three files.

    Args:
        out: folder, made when missing; files of the same names are replaced.
        report: what was found.
        index: folder of the index, for titles and photos.

    Returns:
        The files written.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"duplicates.{kind}" for kind in ("parquet", "json", "html")]
    groups = report.groups
    columns = {
        "group": pa.array(groups.numbers),
        "product_id": _shop_ids(report.folder, groups.rows),
        "score": pa.array(groups.scores),
    }
    if report.column:
        columns["supplier"] = report.folder.attributes[report.column].take(pa.array(groups.rows))
    pq.write_table(pa.table(columns), files[0])
    files[1].write_text(json.dumps(report.to_json(), indent=2) + "\n")
    files[2].write_text(_to_html(report, index))
    return files


def _to_html(report: Report, index: Path) -> str:
    """Return a page with the figures and with the photos of the largest groups."""
    slices = report.groups.slices[:SHOWN_GROUPS]
    ids = np.full((len(slices), SHOWN_PRODUCTS), -1, np.int64)
    rows, scores = ids.copy(), np.full(ids.shape, -np.inf, np.float32)
    for row, where in enumerate(slices):
        some = slice(where.start, min(where.stop, where.start + SHOWN_PRODUCTS))
        rows[row, : some.stop - some.start] = report.groups.rows[some]
        ids[row, : some.stop - some.start] = report.folder.product_ids[report.groups.rows[some]]
        scores[row, : some.stop - some.start] = report.groups.scores[some]
    keys = None if report.folder.product_keys is None else _texts(report.folder.product_keys, rows)
    results = Results(ids, scores, keys=keys)
    products = look_up(index, True, {product for row in results for product in row.products}, images=True)
    sizes = report.groups.sizes
    names = [
        f"Group {row}" + (f", the first {SHOWN_PRODUCTS} of {sizes[row]}" if sizes[row] > SHOWN_PRODUCTS else "")
        for row in range(len(slices))
    ]
    title = "The same style at different suppliers" if report.across else "Duplicates"
    lines = "<br>".join(html.escape(line) for line in str(report).splitlines())
    which = f"<p>The {len(names)} largest groups:</p>" if len(sizes) > len(names) else ""
    intro = (
        f"<h1>{title}</h1><p>{lines}<br>Two products are linked if their cosine is at least {report.threshold}. A "
        f"score is the cosine with the first product of the group.</p>{which}"
    )
    return page([intro, section(names, results, products)])


def _shop_ids(folder: IndexFolder, rows: np.ndarray) -> pa.Array:
    """Return the ids of rows as the shop has them."""
    keys = folder.product_keys
    return pa.array(folder.product_ids[rows]) if keys is None else keys.take(pa.array(rows))


def _texts(keys: pa.Array, rows: np.ndarray) -> np.ndarray:
    """Return the text ids of rows of any shape, as strs; empty where the row is -1."""
    texts = [key.decode() for key in keys_of(keys, rows).ravel()]
    return np.array([*texts, None], np.object_)[:-1].reshape(rows.shape)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
