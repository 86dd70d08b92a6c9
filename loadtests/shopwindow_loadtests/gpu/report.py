"""Writes the results as Markdown and plots between two markers of a document, and leaves the rest as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shopwindow_loadtests.benchmarks_document import (
    around_section,
    markdown_table,
    new_figure,
    replace_section,
    save_figure,
)
from shopwindow_loadtests.gpu.results import DONE, Results

BEGIN, END = "<!-- gpu-check: begin -->", "<!-- gpu-check: end -->"
# These multiply float32 as TF32 by default.
TF32_BACKENDS = ("onnxruntime", "tensorrt")
UNMEASURED = (
    "**Unmeasured.** No machine with a GPU has run `make gpu-check` yet: nothing is known of the speed of this "
    "project on a GPU, and no figure stands here until one is measured."
)


def write_section(document: Path, results: Results) -> None:
    """Put the results between the markers, and the plots into the folder `plots` beside the document.

    Raises:
        ValueError: The document lacks the markers, or has them in the wrong order.
    """
    around_section(document, BEGIN, END)  # before any plot is drawn
    plots = _plots(results, document.parent / "plots") if results.machine["gpus"] else []
    body = section(results, [plot.relative_to(document.parent) for plot in plots])
    replace_section(document, BEGIN, END, body)


def section(results: Results, plots: list[Path]) -> str:
    """Return the text of the section. It says so if nothing was measured on a GPU."""
    if not results.machine["gpus"]:
        return UNMEASURED
    versions = ", ".join(f"{name} {version}" for name, version in results.machine["versions"].items())
    parts = [
        f"{'; '.join(results.machine['gpus'])}; {results.machine['cores']} cores; Python {results.machine['python']}; "
        f"{versions}. {results.machine['measured']} UTC.",
        *(f"![{plot.stem}]({plot.as_posix()})" for plot in plots),
        _table("What the card reaches", _ceilings(results)),
        _table("FAISS on the GPU against FAISS on the CPU, 200,000 x 128", _flat(results, "congruence/")),
        _table("FAISS on the GPU at size, x 128, k = 100: p50 in ms by batch", _search(results)),
        _table(
            "Towers: rows per second by batch, and the share of the card's matrix rate at the largest batch and of its "
            "copy rate (weights read) at the smallest",
            _towers(results),
        ),
        _table("Ranking parity", _flat(results, "parity/")),
        _table("`retrieve` through Triton, k = 100", _retrieve(results)),
        _table("Not measured", _not_measured(results)),
    ]
    return "\n\n".join(part for part in parts if part)


def _not_measured(results: Results) -> list[dict[str, Any]]:
    return [
        {"step": entry.step, "": entry.status, "why": entry.reason} for entry in results.entries if entry.status != DONE
    ]


def _ceilings(results: Results) -> list[dict[str, Any]]:
    return [
        {"": step.partition("/")[2], "TFLOP/s": values.get("tflops", ""), "TB/s": values.get("tb_per_s", "")}
        for step, values in results.values("ceilings/").items()
    ]


def _flat(results: Results, prefix: str) -> list[dict[str, Any]]:
    """Return a row for each step. The columns are all figures that any of the steps has."""
    found = results.values(prefix)
    columns = list(dict.fromkeys(name for values in found.values() for name in values))
    return [
        {"": step.removeprefix(prefix), **{name: values.get(name, "") for name in columns}}
        for step, values in found.items()
    ]


def _search(results: Results) -> list[dict[str, Any]]:
    return [
        {
            "index": step.removeprefix("search/"),
            "effort": effort,
            "recall@100": figures["recall"],
            "MiB": values.get("used_mib", ""),
            **{batch: timing["p50_ms"] for batch, timing in figures["batches"].items()},
        }
        for step, values in results.values("search/").items()
        for effort, figures in values["efforts"].items()
    ]


def _towers(results: Results) -> list[dict[str, Any]]:
    ceilings = {step.partition("/")[2]: values for step, values in results.values("ceilings/").items()}
    rows = []
    for step, values in results.values("towers/").items():
        timings = list(values["batches"].values())
        backend, precision = step.split("/")[-2:]
        kind = "tf32" if precision == "fp32" and backend in TF32_BACKENDS else precision
        work = timings[-1]["rows_per_s"] * values["gflop"] / 1e3
        moved = values["weight_mb"] / timings[0]["p50_ms"] / 1e3  # TB/s
        rows.append(
            {
                "tower": step.removeprefix("towers/"),
                "GFLOP a row": values["gflop"],
                **{batch: round(timing["rows_per_s"]) for batch, timing in values["batches"].items()},
                "of matrix rate": _share(work, ceilings.get(kind, {}).get("tflops")),
                "of copy rate": _share(moved, ceilings.get("copy", {}).get("tb_per_s")),
            }
        )
    return rows


def _share(rate: float, ceiling: float | None) -> str:
    return f"{rate / ceiling:.1%}" if ceiling else ""


def _retrieve(results: Results) -> list[dict[str, Any]]:
    return [
        {"load": name, "profile": values["profile"], "Triton": values["triton"], **figures}
        for values in results.values("retrieve/triton").values()
        for name, figures in values["loads"].items()
    ]


def _table(title: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    cells = [[_readable(value) for value in row.values()] for row in rows]
    return f"### {title}\n\n{markdown_table(list(rows[0]), cells)}"


def _readable(value: Any) -> str:
    return f"{value:.1e}" if isinstance(value, float) and 0 < abs(value) < 1e-3 else str(value)


def _plots(results: Results, folder: Path) -> list[Path]:
    files = []
    search, towers = results.values("search/"), results.values("towers/")
    if search:
        figure, axes = _figure("milliseconds per query at batch 64", "recall@100")
        axes.set_xscale("log")
        for step, values in search.items():
            points = [(f["batches"]["64"]["p50_ms"] / 64, f["recall"]) for f in values["efforts"].values()]
            axes.plot(*zip(*points, strict=True), marker="o", label=step.removeprefix("search/"))
        files.append(_save(figure, axes, folder / "gpu_search.png"))
    for name in sorted({"/".join(step.split("/")[1:3]) for step in towers}):
        figure, axes = _figure("batch", "rows per second")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        for step, values in towers.items():
            if step.startswith(f"towers/{name}/"):
                points = [(int(batch), timing["rows_per_s"]) for batch, timing in values["batches"].items()]
                axes.plot(*zip(*points, strict=True), marker="o", label=step.removeprefix(f"towers/{name}/"))
        files.append(_save(figure, axes, folder / f"gpu_towers_{name.replace('/', '_')}.png"))
    return files


def _figure(x: str, y: str) -> tuple[Any, Any]:
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Any, axes: Any, file: Path) -> Path:
    axes.legend(fontsize="small")
    save_figure(figure, file)
    return file
