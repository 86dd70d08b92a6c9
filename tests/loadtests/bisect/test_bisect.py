"""`shopwindow bisect`: the arithmetic on made-up figures, and one small run on real servers."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shopwindow.cli.main import main
from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import TritonServer
from shopwindow_loadtests.bisect.attribution import attribute, overhead_ms, propose
from shopwindow_loadtests.bisect.run import BUSY
from shopwindow_loadtests.bisect.servers import MeasuredServer, caches
from shopwindow_loadtests.bisect.startup import drop_from_cache, load_alone, loading_times
from shopwindow_loadtests.generator.closed_loop import batches
from shopwindow_loadtests.generator.driving import check_answers, drive
from shopwindow_loadtests.generator.reading import Load, Reading, interleave, median_ratio, median_reading
from shopwindow_loadtests.generator.server_cpu import SERVER, cpu_seconds, spent
from shopwindow_loadtests.scenario.errors import HarnessFailure

STEPS = {"tokenise": 0.1, "tower": 1.5, "search": 0.3}


def reading(cpu_ms: float, server_ms: float, rows: float = 8.0) -> Reading:
    return Reading(
        queries_per_s=1.0, cpu_ms=cpu_ms, parts={SERVER: server_ms, "retrieve": cpu_ms - server_ms}, rows=rows
    )


def test_stages_add_up_to_the_served_time_and_overhead_is_the_part_beyond_the_limit() -> None:
    stages = attribute(STEPS, 2.0, reading(3.2, 0.7))
    assert {stage.name: pytest.approx(stage.cpu_ms) for stage in stages} == {
        "tokenise": 0.1,
        "tower": 1.5,
        "search": 0.3,
        "checks and results": 0.1,  # 2.0 in process, of which 1.9 are steps
        "Python models beyond the limit": 0.5,  # 3.2 less 0.7 less 2.0
        "server: gRPC, queues, copies": 0.7,
    }
    assert sum(stage.cpu_ms for stage in stages) == pytest.approx(3.2)
    assert sum(stage.share for stage in stages) == pytest.approx(1.0)
    assert overhead_ms(stages) == pytest.approx(1.2)


def test_a_model_that_batches_better_than_the_limit_is_a_gain_in_the_table() -> None:
    stages = attribute(STEPS, 2.0, reading(2.1, 0.4))
    [beyond] = [stage for stage in stages if stage.name.startswith("Python models")]
    assert beyond.cpu_ms == pytest.approx(-0.3)
    assert overhead_ms(stages) == pytest.approx(0.1)


def test_the_models_of_an_ensemble_count_together() -> None:
    ensemble = Reading(queries_per_s=1.0, cpu_ms=4.0, parts={SERVER: 1.0, "query_tower": 2.0, "product_index": 1.0})
    assert overhead_ms(attribute(STEPS, 2.0, ensemble)) == pytest.approx(2.0)


def proposed(single_ms: float, batched_ms: float, fused: Reading, ensemble: Reading, cores: int = 4) -> dict[str, str]:
    found = propose(single_ms=single_ms, batched_ms=batched_ms, batch=8, fused=fused, ensemble=ensemble, cores=cores)
    assert all(one.why for one in found)
    return {one.setting: one.value for one in found}


def test_proposals_follow_from_the_costs_of_a_call_and_a_query() -> None:
    # A call costs 0.8 ms and each query 2 ms: 2.8 alone, 2.1 in eights; 0.8 / b is below 5 % of 2 from b = 8 on.
    values = proposed(2.8, 2.1, reading(3.0, 0.5, rows=6.0), reading(4.0, 1.0))
    assert values == {
        "profile": "cpu",
        "instance_group count": "2",
        "preferred batch": "8",
        "max_queue_delay_microseconds": "0",  # batches of 6 come by themselves
    }
    assert proposed(2.8, 2.1, reading(3.0, 0.5), reading(2.0, 1.0))["profile"] == "cpu-ensemble"
    assert proposed(2.8, 2.1, reading(3.0, 2.5), reading(4.0, 1.0))["instance_group count"] == "1"
    assert proposed(2.8, 2.1, reading(3.0, 0.5), reading(4.0, 1.0), cores=2)["instance_group count"] == "1"


def test_waiting_is_proposed_only_if_batches_save_time_and_do_not_form_without_it() -> None:
    lonely = reading(3.0, 0.5, rows=1.2)
    assert proposed(2.8, 2.1, lonely, lonely)["max_queue_delay_microseconds"] == "800"
    assert proposed(2.8, 2.7, lonely, lonely)["max_queue_delay_microseconds"] == "0"  # saves 4 %


def test_rounds_are_interleaved_and_every_other_one_runs_backwards() -> None:
    order: list[str] = []

    def measure(name: str) -> Callable[[], Reading]:
        return lambda: (order.append(name), Reading(queries_per_s=float(len(order)), cpu_ms=1.0))[1]

    readings = interleave({name: measure(name) for name in "abc"}, 3, lambda _: None)
    assert "".join(order) == "abccbaabc"
    assert [one.queries_per_s for one in readings["a"]] == [1.0, 6.0, 7.0]


def test_a_ratio_is_taken_within_rounds_before_the_median() -> None:
    # A machine that halves its speed in one round changes both, and so not their ratio.
    ours = [Reading(queries_per_s=value, cpu_ms=2.0) for value in (110, 55, 110)]
    theirs = [Reading(queries_per_s=value, cpu_ms=1.0) for value in (100, 50, 100)]
    assert median_ratio(ours, theirs, "queries_per_s") == pytest.approx(1.1)
    assert median_ratio(ours, theirs, "cpu_ms") == pytest.approx(2.0)


def test_medians_are_taken_figure_by_figure() -> None:
    some = [
        Reading(queries_per_s=q, cpu_ms=c, parts={"server": c}, rows=r) for q, c, r in ((1, 9, 2), (2, 7, 4), (9, 8, 3))
    ]
    found = median_reading(some)
    assert (found.queries_per_s, found.cpu_ms, found.parts, found.rows) == (2, 8, {"server": 8}, 3)
    assert found.p50_ms is None


def test_cpu_time_counts_a_process_with_its_children_and_nobody_else() -> None:
    burn = "import sys, time\nsys.stdin.readline()\nwhile time.process_time() < 0.4: pass"
    waits = f"{burn}\nprint('burnt', flush=True)\nsys.stdin.read()"
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {waits!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = cpu_seconds(process.pid)
        process.stdin.write("burn\n")
        process.stdin.flush()
        assert process.stdout.readline() == "burnt\n"
        took = spent(before, cpu_seconds(process.pid), process.pid)
        process.communicate()
    assert list(took) == [SERVER]
    assert 0.25 <= took[SERVER] < 5.0


def test_queries_come_in_turn_from_a_place_that_the_seed_picks_or_by_popularity() -> None:
    queries = [f"q{number}" for number in range(10)]
    endless = batches(queries, 4, None, seed=3)
    drawn = [query for _ in range(5) for query in next(endless)]
    start = queries.index(drawn[0])
    assert drawn == [queries[(start + number) % 10] for number in range(20)]
    popular = batches(queries, 1, 1.0, seed=3)
    counts = [next(popular)[0] for _ in range(2000)]
    assert counts.count("q0") > 3 * counts.count("q9")


def test_tritons_log_tells_when_models_were_loaded() -> None:
    year = datetime.now(UTC).year
    log = (
        'W0301 10:00:01.500000 7 a.cc:1] "CUDA memory pool disabled"\n'
        'I0301 10:00:02.250000 7 model_lifecycle.cc:472] "loading: retrieve:1"\n'
        "I0301 10:00:03.000000 7 model_lifecycle.cc:839] \"successfully loaded 'retrieve'\"\n"
        "I0301 10:00:04.750000 7 model_lifecycle.cc:839] \"successfully loaded 'product_index'\"\n"
    )
    begun, ended = loading_times(log)
    assert ended - begun == pytest.approx(2.5)
    assert begun == datetime(year, 3, 1, 10, 0, 2, 250000, tzinfo=UTC).timestamp()
    with pytest.raises(ValueError, match="names no model"):
        loading_times("")


def test_loading_alone_is_split_into_its_steps(repository: Path, index: Path) -> None:
    began = time.perf_counter()
    took = load_alone(repository, index, "red dress")
    assert list(took) == ["imports", "towers checked", "index load", "towers loaded, warm-up"]
    assert 0 < sum(took.values()) <= time.perf_counter() - began


def test_a_cold_start_reads_its_files_from_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "vectors.npy"
    file.parent.mkdir()
    file.write_bytes(bytes(2**20))

    def in_cache() -> bool:
        with file.open("rb") as opened:
            try:
                return os.preadv(opened.fileno(), [bytearray(4096)], 2**19, os.RWF_NOWAIT) > 0
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                pytest.skip(f"needs a file system that tells what is in the page cache (RWF_NOWAIT): {error}")

    assert in_cache()
    assert drop_from_cache(tmp_path) == 2**20
    assert not in_cache()


def test_caches_are_off_only_inside_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWINDOW_EMBEDDING_CACHE", "7")
    with caches(()):
        assert os.environ["SHOPWINDOW_EMBEDDING_CACHE"] == os.environ["SHOPWINDOW_RESULT_CACHE_MIB"] == "0"
    with caches(["embeddings"]):
        assert "SHOPWINDOW_EMBEDDING_CACHE" not in os.environ
        assert os.environ["SHOPWINDOW_RESULT_CACHE_MIB"] == "0"
    assert os.environ["SHOPWINDOW_EMBEDDING_CACHE"] == "7"
    assert "SHOPWINDOW_RESULT_CACHE_MIB" not in os.environ


def test_a_server_with_other_answers_is_refused(
    served: TritonServer, pipeline: InProcessPipeline, shop: Path, shop_queries: list[str]
) -> None:
    server = MeasuredServer(served, "ours")
    check_answers(server.target, pipeline, shop_queries[:8])

    class Other:
        def retrieve(self, queries: list[str], *, top_k: int) -> object:
            return pipeline.retrieve(["mug"] * len(queries), top_k=top_k)

    with pytest.raises(HarnessFailure, match="finds only"):
        check_answers(server.target, Other(), shop_queries[:8])  # type: ignore[arg-type]


def test_a_failed_request_is_a_failed_measurement(served: TritonServer, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("red dress\n" + 2000 * "x" + "\n")  # longer than a query may be
    with pytest.raises(HarnessFailure, match="at most 1000 characters"):
        drive(MeasuredServer(served, "ours").target, Load(clients=2, batch=2), queries=queries, seconds=0.2)


def test_cpu_time_that_was_read_late_is_measured_again(
    served: TritonServer, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, looks = MeasuredServer(served, "ours").target, []

    def stalled(pid: int) -> dict[int, float]:
        looks.append(pid)
        if len(looks) <= late_looks:
            time.sleep(0.5)  # past the window: the CPU time read then is not of the load
        return cpu_seconds(pid)

    monkeypatch.setattr("shopwindow_loadtests.generator.driving.cpu_seconds", stalled)
    load, queries = Load(clients=2, batch=2), shop / "queries.parquet"
    late_looks = 1
    assert drive(server, load, queries=queries, seconds=0.4).cpu_ms > 0
    assert len(looks) >= 4  # two, and perhaps more, were in vain
    late_looks = 99
    monkeypatch.setattr("shopwindow_loadtests.generator.driving.ATTEMPTS", 2)
    with pytest.raises(HarnessFailure, match="2 times; at last the CPU time over 400 ms was read "):
        drive(server, load, queries=queries, seconds=0.4)


def test_a_small_run_measures_everything(
    retrieve_only: Path, index: Path, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopwindow_loadtests.bisect.run.LOADS", (BUSY,))
    places = ["--repository", str(retrieve_only), "--index", str(index), "--queries", str(shop / "queries.parquet")]
    assert main(["bisect", *places, "--rounds", "1", "--seconds", "0.3", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "bisect.json").read_text())
    assert {(one["name"], one["load"]) for one in found["served"]} == {
        (profile, BUSY.name) for profile in ("cpu", "cpu-ensemble")
    }
    for one in found["served"]:
        assert one["queries_per_s"] > 0
        assert one["cpu_ms"] == pytest.approx(sum(one["parts"].values()))
    for profile, models in (("cpu", {"retrieve"}), ("cpu-ensemble", {"query_tower", "product_index"})):
        parts = [one["parts"] for one in found["served"] if one["name"] == profile]
        assert {name for some in parts for name, took in some.items() if took > 0} >= models  # clock ticks are coarse
    assert {(one["name"], one["load"]) for one in found["alone"]} == {
        (step, batch) for step in (*STEPS, "in process") for batch in (1, 8)
    }
    assert (tmp_path / "bisect.png").stat().st_size > 1_000
