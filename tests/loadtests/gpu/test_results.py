"""Results survive an interrupted run, a failed step does not stop the others, and the document gets the figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow_loadtests.gpu import machine
from shopwindow_loadtests.gpu.__main__ import main
from shopwindow_loadtests.gpu.report import BEGIN, END, UNMEASURED, write_section
from shopwindow_loadtests.gpu.results import DONE, FAILED, LEFT_OUT, Entry, Results
from shopwindow_loadtests.gpu.steps import Step, run_steps

ROOT = Path(__file__).resolve().parents[3]
MACHINE: dict[str, Any] = {
    "gpus": ["Card X, 580.1, 1000 MiB"],
    "cores": 4,
    "python": "3.12.1",
    "versions": {"faiss": "1.15.1"},
    "measured": "2026-01-01T00:00+00:00",
}


def test_a_second_run_does_the_remaining_steps_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    ran: list[str] = []
    broken = True

    def work(name: str) -> dict[str, Any]:
        ran.append(name)
        if name == "b" and broken:
            raise RuntimeError("out of memory")
        return {"figure": len(ran)}

    def steps() -> list[Step]:
        made = [Step(name=name, needs=(), run=lambda name=name: work(name)) for name in "abc"]
        return [*made, Step(name="d", needs=("tensorrt",), run=lambda: work("d"))]

    missing = {"tensorrt": "TensorRT is not installed"}
    run_steps(steps(), Results(tmp_path / "r.json", MACHINE), missing, lambda _: None)
    first = Results(tmp_path / "r.json", MACHINE)
    assert ran == ["a", "b", "c"]
    assert {entry.step: entry.status for entry in first.entries} == {"a": DONE, "b": FAILED, "c": DONE, "d": LEFT_OUT}
    assert {entry.step: entry.reason for entry in first.entries if entry.reason} == {
        "b": "RuntimeError: out of memory",
        "d": "TensorRT is not installed",
    }
    broken = False
    run_steps(steps(), first, {}, lambda _: None)
    assert ran == ["a", "b", "c", "b", "d"]
    assert Results(tmp_path / "r.json", MACHINE).values("") == {
        "a": {"figure": 1}, "c": {"figure": 3}, "b": {"figure": 4}, "d": {"figure": 5},
    }  # fmt: skip


def test_each_result_is_on_disk_before_the_next_step_starts(tmp_path: Path) -> None:
    seen: list[int] = []

    def look() -> dict[str, Any]:
        file = tmp_path / "r.json"
        seen.append(len(json.loads(file.read_text())["entries"]) if file.exists() else 0)
        return {}

    steps = [Step(name=str(number), needs=(), run=look) for number in range(3)]
    run_steps(steps, Results(tmp_path / "r.json", MACHINE), {}, lambda _: None)
    assert seen == [0, 1, 2]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command on a machine that lacks nothing, with results and document in `tmp_path`."""
    monkeypatch.setattr(machine, "facts", lambda: {**MACHINE, "gpus": []})
    monkeypatch.setattr(machine, "missing_abilities", dict)
    document = tmp_path / "benchmarks.md"
    document.write_text(f"{BEGIN}\n{END}\n")
    return lambda *words: main(["--out", str(tmp_path), "--document", str(document), *map(str, words)])


def outcomes(tmp_path: Path) -> dict[str, str]:
    return {entry.step: entry.status for entry in Results(tmp_path / "results.json", {"gpus": []}).entries}


def test_a_group_is_left_out_only_for_a_missing_library_and_a_later_success_counts(
    check: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble: list[Exception] = [RuntimeError("a graph that is refused"), ModuleNotFoundError("No module named 'x'")]

    def steps(group: str, _: Any) -> list[Step]:
        if trouble:
            raise trouble.pop(0)
        return [Step(name=f"{group}/it", needs=(), run=dict)]

    monkeypatch.setattr("shopwindow_loadtests.gpu.__main__._steps", steps)
    assert check("--only", "parity") == 1
    assert outcomes(tmp_path) == {"parity": FAILED}
    assert check("--only", "parity") == 0
    assert outcomes(tmp_path) == {"parity": LEFT_OUT}
    assert check("--only", "parity") == 0
    assert outcomes(tmp_path) == {"parity/it": DONE}


def test_export_and_index_are_steps_that_may_fail(
    check: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = dict.fromkeys(("tensorrt", "faiss-gpu"), "not here")
    monkeypatch.setattr(machine, "missing_abilities", lambda: lacking)
    shop = tmp_path / "shop"
    shop.mkdir()
    for name in ("products", "queries"):
        pq.write_table(pa.table({"text": ["red dress"]}), shop / f"{name}.parquet")
    places = {name: tmp_path / name for name in ("checkpoint", "repository", "index")}
    options = [word for name, place in places.items() for word in (f"--{name}", place)]
    assert check("--only", "retrieve", "--shop", shop, *options) == 1
    assert outcomes(tmp_path) == {
        "retrieve/export": FAILED, "retrieve/plans": LEFT_OUT, "retrieve/index": FAILED, "retrieve/triton": LEFT_OUT,
    }  # fmt: skip


def test_a_step_that_others_need_runs_every_time(tmp_path: Path) -> None:
    ran: list[int] = []
    step = Step(name="a", needs=(), run=lambda: {"run": ran.append(1)}, always=True)
    for _ in range(2):
        run_steps([step], Results(tmp_path / "r.json", MACHINE), {}, lambda _: None)
    assert ran == [1, 1]


def test_results_of_another_gpu_are_not_continued(tmp_path: Path) -> None:
    Results(tmp_path / "r.json", MACHINE).add(Entry(step="a", status=DONE))
    with pytest.raises(ValueError, match=r"measured on .'Card X.*this machine has .'Card Y.* give another --out"):
        Results(tmp_path / "r.json", {**MACHINE, "gpus": ["Card Y"]})


def filled(file: Path, machine: dict[str, Any]) -> Results:
    results = Results(file, machine)
    timing = {"p50_ms": 2.0, "p99_ms": 3.0, "calls": 9}
    for step, values in {
        "ceilings/fp16": {"tflops": 500.0, "side": 8},
        "ceilings/fp32": {"tflops": 50.0, "side": 8},
        "ceilings/tf32": {"tflops": 400.0, "side": 8},
        "ceilings/copy": {"tb_per_s": 3.0, "bytes": 8},
        "congruence/flat": {"engine": "FAISS on GPU 0", "all: same rows": 1.0},
        "search/1M/flat": {"efforts": {"5": {"recall": 0.99, "batches": {"64": timing}}}, "used_mib": 700},
        "towers/base/query/pytorch/fp16": {
            "gflop": 0.5,
            "weight_mb": 3.0,
            "batches": {"1": {**timing, "rows_per_s": 500.0}, "64": {**timing, "rows_per_s": 100_000.0}},
        },
        **{
            f"towers/base/query/{backend}/fp32": {
                "gflop": 0.5, "weight_mb": 6.0,
                "batches": {"1": {**timing, "rows_per_s": 500.0}, "64": {**timing, "rows_per_s": 40_000.0}},
            }
            for backend in ("pytorch", "tensorrt", "onnxruntime")
        },
        "retrieve/export": {},
        "retrieve/triton": {"profile": "gpu", "triton": "2.71.0", "loads": {"1 caller, 1 query": {"p50_ms": 1.5}}},
    }.items():  # fmt: skip
        results.add(Entry(step=step, status=DONE, values=values))
    results.add(Entry(step="towers/base/query/tensorrt/fp16", status=LEFT_OUT, reason="TensorRT | is not installed"))
    return results


def test_the_section_is_replaced_and_the_rest_of_the_document_is_kept(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"# Before\n\n{BEGIN}\nold figures\n{END}\n\n# After\n")
    for _ in range(2):
        write_section(document, filled(tmp_path / "r.json", MACHINE))
        text = document.read_text()
        assert text.startswith(f"# Before\n\n{BEGIN}\nCard X, 580.1, 1000 MiB; 4 cores")
        assert text.endswith(f"{END}\n\n# After\n")
        assert "old figures" not in text
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    assert ["fp16", "500.0", ""] in rows
    assert ["1M/flat", "5", "0.99", "700", "2.0"] in rows
    # 100,000 rows a second of 0.5 GFLOP are 50 TFLOP/s, a tenth of the card's 500.
    # 3 MB of weights in 2 ms are 1.5 GB/s, of the card's 3 TB/s.
    assert ["base/query/pytorch/fp16", "0.5", "500", "100000", "10.0%", "0.1%"] in rows
    # In float32, 20 TFLOP/s: a share of 50 in float32 and of 400 in TF32, in which the other two compute.
    for backend, share in (("pytorch", "40.0%"), ("tensorrt", "5.0%"), ("onnxruntime", "5.0%")):
        assert [f"base/query/{backend}/fp32", "0.5", "500", "40000", share, "0.1%"] in rows
    assert ["1 caller, 1 query", "gpu", "2.71.0", "1.5"] in rows
    assert r"| towers/base/query/tensorrt/fp16 | left out | TensorRT \| is not installed |" in text
    for name in ("gpu_search", "gpu_towers_base_query"):
        assert f"![{name}](plots/{name}.png)" in text
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_gpu_the_section_says_that_nothing_is_measured(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"{BEGIN}\n{END}\n")
    write_section(document, filled(tmp_path / "r.json", {**MACHINE, "gpus": []}))
    assert document.read_text() == f"{BEGIN}\n{UNMEASURED}\n{END}\n"
    assert not (tmp_path / "plots").exists()


def test_a_document_without_markers_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("# No place\n")
    with pytest.raises(ValueError, match="needs the lines <!-- gpu-check: begin -->"):
        write_section(document, filled(tmp_path / "r.json", MACHINE))


def test_the_document_of_the_project_has_figures_or_says_that_there_are_none() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    body = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert body == UNMEASURED or body.startswith("NVIDIA")


def test_without_a_gpu_the_command_says_what_is_missing_and_touches_nothing(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("untouched")
    done = subprocess.run(
        [sys.executable, "-m", "shopwindow_loadtests.gpu", "--out", str(tmp_path / "out"), "--document", str(document)],
        # Neither nvidia-smi nor a library finds a GPU, even if there is one.
        env={**os.environ, "PATH": "", "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "without gpu: no NVIDIA GPU" in done.stdout
    assert "without faiss-gpu:" in done.stdout
    assert done.stderr == "nothing is measured here: make gpu-check needs an NVIDIA GPU\n"
    assert document.read_text() == "untouched"
    assert not (tmp_path / "out").exists()
