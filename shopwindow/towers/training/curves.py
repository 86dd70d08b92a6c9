"""Plot the training log: the loss, its weighted parts, and the recall of the validations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from shopwindow.towers.training.log import RECALL, read_log

_NOT_PARTS = {"step", "learning_rate", RECALL}


def plot_log(log: Path, file: Path) -> None:
    """Draw a training log.

    Args:
        log: training_log.jsonl.
        file: PNG to write.
    """
    draw(read_log(log)).savefig(file, dpi=120)  # a plain Figure draws with Agg, which needs no display


def draw(lines: list[dict[str, Any]]) -> Figure:
    """Draw the lines of a training log. A part is drawn over the steps whose lines have it."""
    recalls = [line for line in lines if RECALL in line]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    parts = {name for line in lines for name in line} - _NOT_PARTS
    for name in sorted(parts, key=lambda part: (part != "loss", part)):
        known = [line for line in lines if name in line]
        axes.plot(_steps(known), [line[name] for line in known], label=name, linewidth=2.0 if name == "loss" else 1.0)
    axes.set(xlabel="step", ylabel="weighted loss", ylim=(0, None))
    if recalls:
        right = axes.twinx()
        right.plot(_steps(recalls), [line[RECALL] for line in recalls], "k--o", markersize=3, label="recall@10")
        right.set(ylabel="recall@10 of the validation clicks", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=6)
    return figure


def _steps(lines: list[dict[str, Any]]) -> list[int]:
    return [line["step"] for line in lines]
