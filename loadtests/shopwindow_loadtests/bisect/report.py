"""The findings of `shopwindow bisect` as text, as JSON and as a plot."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shopwindow_loadtests.benchmarks_document import new_figure, save_figure
from shopwindow_loadtests.bisect.attribution import overhead_ms
from shopwindow_loadtests.bisect.run import LIMIT, Findings
from shopwindow_loadtests.generator.reading import LIMIT_BATCH, Reading
from shopwindow_loadtests.judging.summary import text_table

COMPETES = (
    "The load generator runs on the same cores. Its CPU time (column `generator`) does not count as the server's, but "
    "the server cannot use it, so throughput is lower than with clients on other machines. The in-process limit shares "
    "the cores with nobody. So compare CPU time per query, not throughput."
)


def as_text(findings: Findings) -> str:
    """Return the tables to print."""
    alone = [
        [name, batch, _number(one.cpu_ms), f"{one.queries_per_s:.0f}"] for (name, batch), one in findings.steps.items()
    ]
    parts = [
        f"Medians of {findings.rounds} rounds; CPU in milliseconds per query. {COMPETES}",
        text_table(["alone", "batch", "CPU", "queries/s"], alone),
        text_table(
            [
                "profile",
                "load",
                "queries/s",
                "CPU",
                "limit",
                "ratio",
                "p50 ms",
                "p99 ms",
                "rows",
                "queue ms",
                "generator",
            ],
            [_served(findings, *key) for key in findings.served],
        ),
        *(_stages(findings, *key) for key in findings.stages),
        "Proposed:\n" + "\n".join(f"  {one.setting}: {one.value}  ({one.why})" for one in findings.proposals),
    ]
    return "\n\n".join(parts)


def as_json(findings: Findings) -> str:
    """Return everything, for programs."""

    def named(values: dict[tuple[str, Any], Any]) -> list[dict[str, Any]]:
        return [{"name": name, "load": load, **asdict(one)} for (name, load), one in values.items()]

    return json.dumps(
        {
            "rounds": findings.rounds,
            "alone": named(findings.steps),
            "served": named(findings.served),
            "stages": [
                {"name": name, "load": load, "stages": [asdict(stage) for stage in stages]}
                for (name, load), stages in findings.stages.items()
            ],
            "proposals": [asdict(one) for one in findings.proposals],
        },
        indent=1,
    )


def plot(findings: Findings, file: Path) -> None:
    """Draw a bar for each profile and load, made of its stages, with a line at the in-process limit."""
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    keys = list(findings.stages)
    labels = [f"{profile}\n{load}" for profile, load in keys]
    bottom = [0.0] * len(keys)
    for number, stage in enumerate(findings.stages[keys[0]]):
        heights = [max(0.0, findings.stages[key][number].cpu_ms) for key in keys]
        axes.bar(labels, heights, bottom=bottom, label=stage.name)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    limits = [findings.steps[LIMIT, LIMIT_BATCH[load]].cpu_ms for _, load in keys]
    axes.plot(labels, limits, "k_", markersize=40, label="in-process limit")
    axes.set(ylabel="server CPU, ms per query")
    axes.legend(fontsize="small")
    save_figure(figure, file)


def _served(findings: Findings, profile: str, load: str) -> list[str]:
    one: Reading = findings.served[profile, load]
    limit = findings.steps[LIMIT, LIMIT_BATCH[load]].cpu_ms
    figures = [one.cpu_ms, limit, one.cpu_ms / limit, one.p50_ms, one.p99_ms, one.rows, one.queue_ms, one.generator_ms]
    return [profile, load, f"{one.queries_per_s:.0f}", *map(_number, figures)]


def _stages(findings: Findings, profile: str, load: str) -> str:
    stages = findings.stages[profile, load]
    rows = [[stage.name, _number(stage.cpu_ms), f"{stage.share:.1%}"] for stage in stages]
    total = sum(stage.cpu_ms for stage in stages)
    lost = overhead_ms(stages)
    rows.append(["overhead (served minus in process)", _number(lost), f"{lost / total:.1%}"])
    return text_table([f"{profile}, {load}: stage", "ms", "share"], rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
