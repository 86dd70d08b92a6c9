"""Write the evaluation report: report.json, report.md and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shopwindow.towers.judging.metrics import Estimate
from shopwindow.towers.judging.table import Cell, Table

_HOLDS = {
    "report.json": "everything, for programs",
    "report.md": "the same as Markdown",
    "directions.png": "MRR by direction: trigger and catalogue by photo, by title, or both",
    "gates.png": "weight of the photo beside the title, by category",
}


def write_report(
    out: Path,
    headline: Mapping[str, Any],
    tables: Mapping[str, Table],
    left_out: Mapping[str, str],
    *,
    measured: Mapping[str, Any],
) -> list[Path]:
    """Write the whole report. report.json says what was measured and what each file holds.

    Args:
        out: folder for the report. It is made if missing, and files of the same names are replaced.
        headline: figures for the top of the report.
        tables: section -> its table.
        left_out: section -> the reason why it is missing.
        measured: what was measured, such as the index and the files of queries; JSON must have its values.

    Returns:
        The files written.
    """
    out.mkdir(parents=True, exist_ok=True)
    plots = {"same_style": "directions.png", "gates": "gates.png"}
    for plot in plots.values():
        (out / plot).unlink(missing_ok=True)  # a plot of an earlier run must not stay
    written = ["report.json", "report.md", *(plot for section, plot in plots.items() if section in tables)]
    content = {
        "measured": dict(measured),
        "files": {name: _HOLDS[name] for name in written},
        "headline": dict(headline),
        "sections": {name: asdict(table) for name, table in tables.items()},
        "left_out": dict(left_out),
    }
    (out / "report.json").write_text(json.dumps(content, indent=1) + "\n")
    (out / "report.md").write_text(to_markdown("Evaluation", headline, tables, left_out))
    if "same_style" in tables:
        _plot_directions(tables["same_style"], out / plots["same_style"])
    if "gates" in tables:
        _plot_gates(tables["gates"], out / plots["gates"])
    return [out / name for name in written]


def to_markdown(
    title: str, headline: Mapping[str, Any], tables: Mapping[str, Table], left_out: Mapping[str, str]
) -> str:
    """Return a report as Markdown. An estimate is written as mean [low, high]."""
    parts = [f"# {title}", "\n".join(f"- {name}: {show_cell(value)}" for name, value in headline.items())]
    for table in tables.values():
        columns = list(table.rows[0])
        lines = [
            f"| {' | '.join(columns)} |",
            f"|{' --- |' * len(columns)}",
            *(f"| {' | '.join(show_cell(row[column]) for column in columns)} |" for row in table.rows),
        ]
        parts += [f"## {table.title}", table.note, "\n".join(lines)]
    if left_out:
        parts += ["## Left out", "\n".join(f"- {name}: {reason}" for name, reason in left_out.items())]
    return "\n\n".join(parts) + "\n"


def show_cell(cell: Cell) -> str:
    """Return a cell as text."""
    if cell is None:
        return ""
    if isinstance(cell, Estimate):
        return f"{cell.mean:.4f} [{cell.low:.4f}, {cell.high:.4f}]"
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return str(cell).replace("|", "\\|")


def _plot_directions(table: Table, file: Path) -> None:
    names = [str(row["direction"]) for row in table.rows]
    estimates = [row["MRR"] for row in table.rows]
    means, lows, highs = zip(*((e.mean, e.low, e.high) for e in estimates if isinstance(e, Estimate)), strict=True)
    below = [mean - low for mean, low in zip(means, lows, strict=True)]
    above = [high - mean for mean, high in zip(means, highs, strict=True)]
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    axes.bar(names, means, yerr=(below, above), capsize=4)
    axes.set(title=table.title, xlabel="trigger - catalogue", ylabel="MRR", ylim=(0, 1))
    save_figure(figure, file)


def _plot_gates(table: Table, file: Path) -> None:
    names = [str(row["category"]) for row in table.rows]
    means = [row["photo"] for row in table.rows]
    spreads = [row["standard deviation"] for row in table.rows]
    figure = Figure(figsize=(7, 1.5 + 0.3 * len(names)))
    axes = figure.subplots()
    axes.barh(names, means, xerr=spreads, capsize=3)  # type: ignore[arg-type]
    axes.invert_yaxis()
    axes.set(title=table.title, xlabel="weight of the photo", xlim=(0, 1))
    save_figure(figure, file)


def save_figure(figure: Figure, file: Path) -> Path:
    """Write a figure as a PNG."""
    FigureCanvasAgg(figure)  # draws without a display
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    return file
