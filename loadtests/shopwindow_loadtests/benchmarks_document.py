"""Writes a generated section of docs/benchmarks.md: its text between two markers, its tables, its plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DPI = 110


def around_section(document: Path, begin: str, end: str) -> tuple[str, str]:
    """Return the text before and after a section of a document.

    Args:
        document: A Markdown file with both markers, each on its own line.
        begin: The marker above the section.
        end: The marker below it.

    Raises:
        ValueError: The file is missing, or it lacks a marker, or the markers are in the wrong order.
    """
    if not document.is_file():
        raise ValueError(f"{document}: must be a file, and there is none")
    before, found_begin, rest = document.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"{document}: needs the lines {begin} and {end}, in this order")
    return before, after


def replace_section(document: Path, begin: str, end: str, body: str) -> None:
    """Replace the text between two markers of a document and leave the rest as it is.

    Args:
        document: See `around_section`.
        begin: See there.
        end: See there.
        body: The new text, without the markers.

    Raises:
        ValueError: See `around_section`.
    """
    before, after = around_section(document, begin, end)
    document.write_text(f"{before}{begin}\n{body}\n{end}{after}")


def markdown_table(heads: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; a `|` or a line break inside a cell does not break it."""
    lines = [[_cell(value) for value in row] for row in (heads, *rows)]
    lines.insert(1, ["---"] * len(heads))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that needs no display, sized in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, file: Path) -> None:
    """Write a figure as a PNG; missing folders are made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=_DPI)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
