"""The training log as a picture: the loss, its weighted parts, and the recall of the validations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from towers.training.log import RECALL, read_log

_NOT_PARTS = {"step", "learning_rate"}


def plot_log(log: Path, file: Path) -> None:
    """Draw a training log.

    Args:
        log: training_log.jsonl.
        file: PNG to write.
    """
    lines = read_log(log)
    losses = [line for line in lines if "loss" in line]
    recalls = [line for line in lines if RECALL in line]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in (name for name in (losses[0] if losses else {}) if name not in _NOT_PARTS):
        axes.plot(_steps(losses), [line[name] for line in losses], label=name, linewidth=2.0 if name == "loss" else 1.0)
    axes.set(xlabel="step", ylabel="weighted loss", ylim=(0, None))
    if recalls:
        right = axes.twinx()
        right.plot(_steps(recalls), [line[RECALL] for line in recalls], "k--o", markersize=3, label="recall@10")
        right.set(ylabel="recall@10 of the validation clicks", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=6)
    figure.savefig(file, dpi=120)  # a bare Figure draws with Agg, without a screen


def _steps(lines: list[dict[str, Any]]) -> list[int]:
    return [line["step"] for line in lines]
