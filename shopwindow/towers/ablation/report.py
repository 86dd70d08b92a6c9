"""Write the results of an ablation: ablation.json, ablation.md and ablation.png."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure

from shopwindow.towers.ablation.run import Results
from shopwindow.towers.ablation.spec import Variant
from shopwindow.towers.judging.metrics import Estimate, difference, estimate
from shopwindow.towers.judging.report import save_figure, to_markdown
from shopwindow.towers.judging.table import Cell, Table

NAME = "ablation"
_COLUMNS = 3
_INTERVALS = (
    "95 %, bootstrap over queries, triggers or edits. Differences are paired. The intervals do not cover chance in "
    "training; compare with a variant that changes only the seed"
)


def make_tables(variants: Sequence[Variant], results: Results, *, seed: int = 0) -> dict[str, Table]:
    """Return a table for each measure, with a row for every variant.

    Args:
        variants: the variants that were run.
        results: what `run_ablation` returned.
        seed: seed of the bootstrap intervals.
    """
    tables = {}
    for measure, first in results[variants[0].name].items():
        rows: list[dict[str, Cell]] = []
        for variant in variants:
            values, other = results[variant.name][measure], variant.compare_with
            row: dict[str, Cell] = {"variant": variant.name, "mean": estimate(values, seed=seed)}
            compared = other != variant.name
            row["compared with"] = other if compared else None
            row["difference"] = difference(values, results[other][measure], seed=seed) if compared else None
            rows.append(row)
        tables[measure] = Table(title=measure, note=f"Each mean is over the same {len(first)}.", rows=rows)
    return tables


def write_ablation(folders: Sequence[Path], tables: Mapping[str, Table]) -> list[Path]:
    """Write the report into each folder. Missing folders are made, and earlier files are replaced.

    Returns:
        The files written.
    """
    files = []
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"intervals": _INTERVALS, "measures": {name: asdict(table) for name, table in tables.items()}}
        files += [folder / f"{NAME}.json", folder / f"{NAME}.md"]
        files[-2].write_text(json.dumps(content, indent=1) + "\n")
        files[-1].write_text(to_markdown("Ablation", {"intervals": _INTERVALS}, tables, {}))
        picture = folder / f"{NAME}.png"
        picture.unlink(missing_ok=True)  # a picture of an earlier run must not stay
        if any(row["difference"] is not None for table in tables.values() for row in table.rows):
            files.append(save_figure(_draw(tables), picture))
    return files


def _draw(tables: Mapping[str, Table]) -> Figure:
    """Draw the differences as a forest plot, with a panel for each measure."""
    lines = -(-len(tables) // _COLUMNS)
    height = 1.2 + 0.3 * len(next(iter(tables.values())).rows)
    figure = Figure(figsize=(5 + 3 * min(_COLUMNS, len(tables)), lines * height))
    panels = figure.subplots(lines, min(_COLUMNS, len(tables)), sharey=True, squeeze=False)
    for axes, table in zip(panels.flat, tables.values(), strict=False):
        found = [(_label(row), row["difference"]) for row in table.rows if isinstance(row["difference"], Estimate)]
        for place, (_, gap) in enumerate(found):
            axes.plot([gap.low, gap.high], [place, place], color="tab:blue")
            axes.plot(gap.mean, place, "o", color="tab:blue")
        axes.axvline(0.0, color="grey", linewidth=0.8)
        axes.set_yticks(range(len(found)), [label for label, _ in found])
        axes.set_ylim(len(found) - 0.5, -0.5)  # the first variant at the top
        axes.set_title(table.title, fontsize="medium")
    for axes in panels.flat[len(tables) :]:
        axes.set_axis_off()
    return figure


def _label(row: Mapping[str, Cell]) -> str:
    return f"{row['variant']} - {row['compared with']}"
