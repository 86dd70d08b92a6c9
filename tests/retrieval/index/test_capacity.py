"""Capacity plans: sizes compared with indexes that FAISS writes, and properties that every plan must have."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shopwindow.cli.main import main
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import KINDS, choose_recipe
from shopwindow.retrieval.index.capacity import (
    CHINESE_TITLE_BYTES,
    GIB,
    TITLE_BYTES,
    Demand,
    index_bytes,
    make_plan,
    make_plans,
    search_seconds,
    waiting_p99,
)

MILLION = Demand(count=1_000_000)


@pytest.mark.parametrize(("rows", "dim"), [(20_000, 32), (30_000, 64)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_planned_size_is_the_size_of_the_file_that_faiss_writes(
    kind: str, rows: int, dim: int, tmp_path: Path
) -> None:
    vectors = np.random.default_rng(0).standard_normal((rows, dim), dtype=np.float32)
    recipe = choose_recipe(rows, kind)
    # The size does not depend on the quality of the build, so build quickly.
    quick = replace(recipe, construction=min(recipe.construction, 8), training_rows=min(recipe.training_rows, 2_560))
    FaissCpuEngine.build(vectors, quick).write(tmp_path / "index.faiss")
    assert index_bytes(recipe, rows, dim) == pytest.approx((tmp_path / "index.faiss").stat().st_size, rel=0.05)


@pytest.mark.parametrize(
    ("language", "count", "planned"), [("english", 50_000, TITLE_BYTES), ("chinese", 30_000, CHINESE_TITLE_BYTES)]
)
def test_the_planned_memory_for_titles_is_what_a_build_takes(language: str, count: int, planned: int) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "peak_titles.py"), str(count), language],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) == pytest.approx(planned, rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_each_machine_holds_its_part_twice_and_all_machines_handle_the_traffic(kind: str) -> None:
    for count in (10**5, 10**7, 10**8, 10**9):
        demand = replace(MILLION, count=count, qps=2_000, p99_s=0.05)
        plan = make_plan(demand, kind)
        copies = plan.searchers if plan.engine == "faiss" else 1
        assert 2 * copies * plan.loaded_bytes / plan.shards <= demand.machine_bytes
        assert plan.replicas * plan.searchers * demand.load / plan.search_s >= demand.qps
        assert plan.fits == (plan.p99_s <= demand.p99_s)


def test_recipes_differ_in_bytes_per_vector() -> None:
    bytes_of = {plan.kind: plan.vector_bytes for plan in make_plans(MILLION)}
    assert bytes_of["flat"] == 512
    assert bytes_of["ivf-pq32"] < bytes_of["ivf-sq8"] < bytes_of["flat"] < bytes_of["ivf"] < bytes_of["hnsw"]


def test_an_index_too_large_for_one_machine_goes_to_milvus() -> None:
    assert make_plan(replace(MILLION, count=10**9), "ivf").engine == "milvus"
    assert make_plan(MILLION, "ivf").engine == "faiss"
    assert make_plan(replace(MILLION, count=10**9, p99_s=1.0, machine_bytes=4_096 * GIB), "ivf").shards == 1


def test_milvus_is_planned_if_copies_for_each_process_would_leave_cores_idle() -> None:
    demand = replace(MILLION, count=10**8, qps=2_000, machine_cores=32)
    shared = make_plan(demand, "ivf-sq8")
    assert (shared.engine, shared.shards, shared.searchers) == ("milvus", 1, 32)
    assert make_plan(replace(demand, qps=1), "ivf-sq8").engine == "faiss"


def test_more_traffic_needs_more_replicas_and_a_tighter_p99_more_shards() -> None:
    calm, busy = (make_plan(replace(MILLION, qps=qps), "ivf") for qps in (100, 100_000))
    assert busy.replicas > calm.replicas
    assert busy.shards == calm.shards
    slow = make_plan(replace(MILLION, count=10**7, p99_s=10.0), "flat")
    quick = make_plan(replace(MILLION, count=10**7, p99_s=0.2), "flat")
    assert quick.shards > slow.shards
    assert quick.fits


def test_a_plan_says_that_it_misses_an_impossible_p99() -> None:
    assert not make_plan(replace(MILLION, p99_s=1e-6), "ivf").fits


def test_the_cost_of_an_inverted_search_grows_with_the_square_root_of_the_count() -> None:
    small, large = (
        search_seconds(choose_recipe(count, "ivf"), count, 128, breadth=64) for count in (1_000_000, 100_000_000)
    )
    assert large / small == pytest.approx(10, rel=0.01)


def test_the_planned_p99_agrees_with_a_simulated_queue() -> None:
    # Lindley's recursion with Poisson arrivals and service times of 1.
    rng, load, waits = np.random.default_rng(0), 0.8, []
    wait = 0.0
    for gap in rng.exponential(1 / load, 200_000):
        waits.append(wait)
        wait = max(0.0, wait + 1 - gap)
    assert waiting_p99(1.0, load) == pytest.approx(1 + float(np.percentile(waits, 99)), rel=0.15)


@pytest.mark.parametrize("change", [{"count": 0}, {"qps": 0}, {"load": 1.0}, {"p99_s": -1.0}, {"breadth": 0}])
def test_an_impossible_value_is_refused_by_name(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(MILLION, **change)


def test_the_command_prints_a_line_for_each_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--count", "100M", "--qps", "2000", "--p99-ms", "50"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("100,000,000 products x 128 dimensions, 2000 queries/s")
    for kind in KINDS:
        line = next(line for line in shown.splitlines() if line.strip().startswith(f"{kind} "))
        assert f"{math.floor(make_plan(replace(MILLION, count=10**8, qps=2_000), kind).vector_bytes)}" in line


def test_the_command_refuses_a_count_that_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--count", "many"])
    assert "must be a number of products such as 500k, 100M or 1B, got 'many'" in capsys.readouterr().err
