"""Write the parity report: parity.json for programs, and parity.html, a self-contained page for people."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shopwindow_export.parity.budgets import BUDGETS, ENOUGH_QUERIES
from shopwindow_export.parity.speed import ROWS, WORTHWHILE
from shopwindow_export.parity.verdict import ParityReport

JSON_FILE = "parity.json"
HTML_FILE = "parity.html"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse }} td, th {{ padding: .2em 1em .2em 0; text-align: left }}
img {{ max-width: 100% }}
</style>
<h1>{title}</h1>
<p>{verdict}</p>
<table>{rows}</table>
<h2>Query by query</h2>
<img alt="overlap and score drift, query by query" src="data:image/png;base64,{plot}">
{layers}
</html>
"""


def write_report(folder: Path, report: ParityReport) -> list[Path]:
    """Write both files. They replace those of an earlier report.

    Args:
        folder: made if missing.
        report: what was measured.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / JSON_FILE, folder / HTML_FILE]
    files[0].write_text(json.dumps(report.to_json(), indent=2) + "\n")
    files[1].write_text(_to_html(report))
    return files


def verdict(report: ParityReport) -> str:
    """Return whether the precision is offered or refused, why, and what was not measured."""
    if not report.passed:
        return f"{report.precision} is refused: {'; '.join(report.shortfalls)}."
    sentences = [f"{report.precision} is offered: it ranks as float32 PyTorch does, within its budget."]
    if BUDGETS[report.precision].recall_loss is not None and report.recall_loss is None:
        sentences.append("Recall was not judged: give --queries and --qrels.")
    if report.queries < ENOUGH_QUERIES:
        sentences.append(f"{report.queries} queries are few: give {ENOUGH_QUERIES} or more for a reliable verdict.")
    if report.speed is not None:
        worth = "is worth it" if report.speed.worthwhile else "is not worth it"
        sentences.append(
            f"On a CPU like this one it {worth}: `--precision auto` requires {WORTHWHILE} times the speed."
        )
    return " ".join(sentences)


def figures(report: ParityReport) -> dict[str, str]:
    """Return what was measured, name -> text, with the budget if there is one."""
    budget = BUDGETS[report.precision]
    shown = {
        "products": f"{report.products}",
        "queries": f"{report.queries}",
        "overlap@10": f"{report.overlap_at_10:.4f} (at least {budget.overlap_at_10})",
        "overlap@100": _share(report.overlap_at_100),
        "overlap@10 of similar products": _share(report.similar_overlap_at_10),
        "score drift": f"mean {report.score_drift_mean:.1e}, max {report.score_drift_max:.1e}",
        "query tower": f"max abs diff {report.query_max_abs_diff:.1e}, min cosine {report.query_min_cosine:.7f}",
        "product tower": f"max abs diff {report.product_max_abs_diff:.1e}, min cosine {report.product_min_cosine:.7f}",
        "recall@100": "no judgements",
    }
    if budget.abs_diff is not None:
        shown["query tower"] += f" (at most {budget.abs_diff:.0e} apart)"
    if report.recall_loss is not None:
        limit = "" if budget.recall_loss is None else f"; at most {budget.recall_loss:.1%}"
        shown["recall@100"] = (
            f"{report.recall_at_100:.4f}, PyTorch {report.recall_at_100_pytorch:.4f} over {report.judged_queries} "
            f"judged queries ({report.recall_loss:.2%} lost{limit})"
        )
    if report.speed is not None:
        shown["throughput here"] = (
            f"query tower {report.speed.query_tower:.2f}, product tower {report.speed.product_tower:.2f} times fp32 "
            f"(batches of {ROWS}, one thread)"
        )
    return shown


def _share(value: float | None) -> str:
    return "too few products" if value is None else f"{value:.4f}"


def _to_html(report: ParityReport) -> str:
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in figures(report).items())
    layers = ""
    if report.layers:
        lines = "".join(
            f"<tr><td>{each.tower}</td><td>{html.escape(each.layer)}</td><td>{each.drift:.4f}</td></tr>"
            for each in report.layers
        )
        layers = (
            "<h2>Layers that drift most</h2><p>Mean absolute difference of a layer's outputs over their mean absolute "
            f"value.</p><table><tr><th>tower</th><th>layer</th><th>drift</th></tr>{lines}</table>"
        )
    return _PAGE.format(
        title=f"Parity of {report.precision} with PyTorch",
        verdict=html.escape(verdict(report)),
        rows=rows,
        plot=_plot(report),
        layers=layers,
    )


def _plot(report: ParityReport) -> str:
    """Return the figures as a PNG in base64."""
    figure = Figure(figsize=(9, 3.2))
    FigureCanvasAgg(figure)  # draws without a screen
    left, right = figure.subplots(1, 2)
    left.hist(report.query_overlaps, bins=[place / 10 - 0.05 for place in range(12)])
    left.set(xlabel="overlap@10 with PyTorch", ylabel="queries", yscale="log")
    left.axvline(BUDGETS[report.precision].overlap_at_10, color="tab:red", linestyle="--", label="budget of the mean")
    left.legend()
    finite = report.query_drifts[np.isfinite(report.query_drifts)]
    right.hist(finite, bins=40)
    lost = len(report.query_drifts) - len(finite)
    more = f"; {lost} queries without a finite score" if lost else ""
    right.set(xlabel=f"mean score drift of the 100 best{more}", ylabel="queries")
    figure.tight_layout()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return base64.b64encode(picture.getvalue()).decode()
