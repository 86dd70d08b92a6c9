"""`make bench`: the targets on made-up figures, the document, and peers that do the same work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.base.default_places import ROOT, TOWER_CONFIGS
from shopwindow.retrieval import InProcessPipeline
from shopwindow.server.processes import members
from shopwindow_loadtests.bisect.run import LIMIT
from shopwindow_loadtests.generator.driving import check_answers, drive
from shopwindow_loadtests.generator.overload import Overload, judge
from shopwindow_loadtests.generator.reading import Load, Reading
from shopwindow_loadtests.peers.__main__ import main
from shopwindow_loadtests.peers.bench_material import main as make_material
from shopwindow_loadtests.peers.bench_material import write_catalogue, write_queries
from shopwindow_loadtests.peers.goals import CACHED, EMBEDDINGS, OURS, OpenLoop, goals
from shopwindow_loadtests.peers.report import BEGIN, END, rows, write_section
from shopwindow_loadtests.peers.rounds import Found, measure_rounds
from shopwindow_loadtests.peers.running import BATCHER, BATCHERS, PEERS, Peer, running
from shopwindow_loadtests.scenario.errors import HarnessFailure
from shopwindow_loadtests.scenario.queries import read_queries, widen
from tests.whole_server.other_towers import copied

ZIPF = "32 x 1, Zipf 1"


def planted(*figures: tuple[float, float]) -> list[Reading]:
    """Return a reading for each round, from (queries_per_s, cpu_ms)."""
    return [Reading(queries_per_s=rate, cpu_ms=cpu) for rate, cpu in figures]


READINGS = {
    (LIMIT, "8"): planted((900, 2.0), (450, 4.0), (900, 2.0)),
    (OURS, "8 x 8"): planted((850, 2.08), (425, 4.16), (850, 2.08)),  # 1.04 of the limit, in a slow round too
    (OURS, "32 x 1"): planted((570, 2.6), (285, 5.2), (570, 2.6)),  # 1.30 of it
    # The faster one changes. We have 1.14 times its throughput in each round, and 1.5 times the median of either.
    (BATCHERS[0], "32 x 1"): planted((500, 2.8), (190, 9.0), (380, 9.0)),
    (BATCHERS[1], "32 x 1"): planted((380, 9.0), (250, 5.6), (500, 2.8)),
    (EMBEDDINGS, ZIPF): planted((900, 1.0), (450, 2.0), (900, 1.0)),
    (CACHED, ZIPF): planted((1100, 0.8), (550, 1.6), (1100, 0.8)),
    (BATCHERS[0], ZIPF): planted((400, 2.9), (200, 5.8), (400, 2.9)),
    (BATCHERS[1], ZIPF): planted((500, 2.8), (250, 5.6), (500, 2.8)),  # 1.8
}


def wave(
    *, good: int, rejected_ms: float | None, late_ms: float = 3.0, sent: int = 17_100, held_back: int = 0
) -> Overload:
    return Overload(
        seconds=10.0,
        sent=sent,
        unsent=17_100 - sent - held_back,
        held_back=held_back,
        late_ms=late_ms,
        good=good,
        p50_ms=20.0,
        p99_ms=60.0,
        rejected=0 if rejected_ms is None else 9_000,
        rejected_p50_ms=None if rejected_ms is None else rejected_ms / 2,
        rejected_ms=rejected_ms,
        errors={} if rejected_ms is None else {"UNAVAILABLE: full": 9_000},
    )


def loop(seen: Overload, **changes: Any) -> OpenLoop:
    figures: dict[str, Any] = {
        "peak_per_s": 570.0,
        "peak_refused": 0.001,
        "half_p50_ms": 4.0,
        "half_p99_ms": 8.0,
        "half_late_ms": 2.0,
        "half_error_share": 0.0,
        "memory_before": 600 * 2**20,
        "memory_most": 690 * 2**20,
        "memory_after": 630 * 2**20,
        "after_ms": 5.0,
    }
    figures["throttled"] = wave(good=4_560, rejected_ms=20.0, sent=6_000, held_back=11_100)
    return OpenLoop(overload=seen, **{**figures, **changes})


def found(open_loops: list[OpenLoop]) -> dict[str, tuple[bool, float | None]]:
    return {goal.name: (goal.passed, goal.ratio) for goal in goals(READINGS, ZIPF, open_loops)}


def test_targets_are_ratios_of_measurements() -> None:
    loops = [loop(wave(good=5_301, rejected_ms=40.0), half_p99_ms=p99) for p99 in (8.0, 40.0, 10.0)]
    assert found(loops) == {
        "server CPU per query, 8 x 8, over the in-process limit": (True, pytest.approx(1.04)),
        "server CPU per query, 32 x 1, over the in-process limit": (False, pytest.approx(1.3)),
        "throughput, 32 x 1, over the faster batcher": (True, pytest.approx(1.14)),
        "throughput, 32 x 1, Zipf 1, embeddings kept, over the faster batcher": (False, pytest.approx(1.8)),
        "throughput, 32 x 1, Zipf 1, results kept too, over the faster batcher": (True, pytest.approx(2.2)),
        "p99 over p50 at half of the saturation rate": (True, pytest.approx(2.5)),
        "goodput at 3 x saturation, over the peak": (True, pytest.approx(0.93)),
        "goodput at 3 x saturation, over the peak, callers with Throttle(ratio=1.2)": (False, pytest.approx(0.8)),
        "p99 until a request is rejected, over 50 ms": (True, pytest.approx(0.8)),
        "memory of the server's processes (RssAnon) during the overload, over before": (True, pytest.approx(1.15)),
        "memory of the server's processes (RssAnon) after the overload, over before": (True, pytest.approx(1.05)),
        "a query after the overload is answered": (True, 1.0),
    }
    assert "1.08" in goals(READINGS, ZIPF, [])[2].note  # 2.8 / 2.6: the servers' own part of the 1.14


def test_a_target_that_was_not_measured_does_not_pass() -> None:
    verdicts = found([])
    for name in list(verdicts)[5:]:
        assert verdicts[name] == (False, None)
    for batcher in BATCHERS:  # the one that is left might be the slower
        unmeasured = goals({key: some for key, some in READINGS.items() if key[0] != batcher}, ZIPF, [])
        assert [goal.ratio for goal in unmeasured[2:5]] == [None] * 3


def test_a_late_rejection_and_lost_goodput_fail_and_no_rejection_is_not_late() -> None:
    assert [passed for passed, _ in verdicts()] == [True, False, False, False, True, True, True]
    assert verdicts(good=5_200, rejected_ms=None)[1:4:2] == [(True, pytest.approx(5_200 / 5_700)), (True, 0.0)]


def test_memory_growth_and_a_server_that_hangs_fail() -> None:
    calm = wave(good=5_301, rejected_ms=40.0)
    assert list(found([loop(calm, memory_most=960 * 2**20)]).values())[-3] == (False, pytest.approx(1.6))
    assert list(found([loop(calm, memory_after=700 * 2**20)]).values())[-2] == (False, pytest.approx(7 / 6))
    hangs = [loop(calm), loop(calm, after_ms=None), loop(calm)]
    assert list(found(hangs).values())[-1] == (False, pytest.approx(2 / 3))


def test_a_load_that_the_generator_could_not_send_counts_as_not_measured() -> None:
    unmeasured = [(False, None), (False, pytest.approx(0.8)), *[(False, None)] * 4]
    assert verdicts(good=16_000, rejected_ms=None)[1:] == unmeasured  # the peak was none
    assert verdicts(late_ms=700.0)[1:] == unmeasured
    assert verdicts(sent=6_270)[1:] == unmeasured  # 1.1 times the peak
    late = wave(good=5_301, rejected_ms=40.0, late_ms=700.0)
    assert verdicts(throttled=late)[2] == (False, None)
    calm = wave(good=5_301, rejected_ms=40.0)
    for changes in ({"half_late_ms": 200.0}, {"half_error_share": 0.5}):
        assert list(found([loop(calm, **changes)]).values())[-7] == (False, None)
    refusing = goals(READINGS, ZIPF, [loop(calm), loop(calm, peak_refused=0.002), loop(calm)])[-7:]
    assert [(goal.passed, goal.ratio) for goal in refusing] == [(False, None)] * 7
    assert all("0.2% of the requests were refused at the peak" in goal.note for goal in refusing[:2])


def verdicts(throttled: Overload | None = None, **changes: float | None) -> list[tuple[bool, float | None]]:
    """Return the verdicts on the open-loop targets for a changed overload, plain or from callers that throttle."""
    some = wave(**{"good": 5_000, "rejected_ms": 51.0, **changes})  # type: ignore[arg-type]
    return list(found([loop(some, **({} if throttled is None else {"throttled": throttled}))]).values())[-7:]


def test_an_overload_counts_answers_in_time_and_the_time_of_refusals() -> None:
    outcomes = [
        (10.0, 10.0, 10.5, ""),
        (10.1, 10.2, 11.3, ""),  # 1.2 s after it was due
        (11.5, 11.5, 12.1, ""),  # in time, but after the last was due
        (10.4, 10.5, 10.53, "UNAVAILABLE: full: 70 rows wait"),
        (10.6, 10.6, 10.62, "UNAVAILABLE: full: 71 rows wait"),
    ]
    seen = judge(outcomes, began=10.0, unsent=4, seconds=2.0)
    assert (seen.sent, seen.unsent, seen.good, seen.rejected) == (5, 4, 1, 2)
    assert seen.rejected_p50_ms == pytest.approx(20, rel=0.02)
    assert seen.rejected_ms == pytest.approx(30, rel=0.02)
    assert seen.late_ms == pytest.approx(100, rel=0.02)
    assert seen.errors == {"UNAVAILABLE: full": 2}


def test_ratios_in_the_table_are_ours_divided_by_theirs() -> None:
    cells = {(row[0], row[1]): row[-2:] for row in rows(READINGS)}
    assert cells["32 x 1", BATCHER] == ["1.50", "0.58"]
    assert cells["32 x 1", OURS] == ["1.00", "1.00"]
    assert cells[ZIPF, BATCHERS[1]] == ["1.80", "0.36"]
    assert cells["batch 8", LIMIT] == ["-", "-"]


def test_the_section_replaces_the_text_between_the_markers(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    write_section(
        document, READINGS, goals(READINGS, ZIPF, []), notes=["a machine"], left_out={"BentoML": "by --peers"}
    )
    text = document.read_text()
    assert text.startswith("# Before")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert (
        "| FAIL | throughput, 32 x 1, Zipf 1, embeddings kept, over the faster batcher | at least 2 | 1.800 | by "
        in text
    )
    assert "Left out: BentoML, by --peers" in text
    assert (tmp_path / "benchmarks" / "peers.png").stat().st_size > 1_000
    document.write_text("nothing\n")
    with pytest.raises(ValueError, match="needs the lines <!-- bench: begin -->"):
        write_section(document, READINGS, [], notes=[], left_out={})


def test_queries_are_widened_with_new_ones_of_the_same_words() -> None:
    queries = ["red dress", "blue mug", "tall brass floor lamp"]
    wide = widen(queries, 40)
    assert wide[:3] == queries
    assert len(wide) == len(set(wide)) == 40
    assert {word for query in wide for word in query.split()} == {word for query in queries for word in query.split()}
    assert {len(query.split()) for query in wide} == {2, 4}
    assert widen(queries, 40) == wide
    assert widen(["a", "b"], 40) == ["a", "b"]  # there are no more


def test_the_material_has_products_of_the_catalogues_kinds_and_queries_of_their_words(
    shop: Path, tmp_path: Path
) -> None:
    titles = tmp_path / "products.parquet"  # with no queries beside it
    pq.write_table(pq.read_table(shop / "products.parquet", columns=["title"]), titles)
    known = set(pq.read_table(titles).column("title").to_pylist())
    made = tmp_path / "made.parquet"
    write_catalogue(titles, made, 3000)
    rows = pq.read_table(made).to_pylist()
    assert [row["product_id"] for row in rows] == list(range(3000))
    assert not any(row["image"] for row in rows)
    assert len({row["title"] for row in rows}) == 3000
    assert {row["title"] for row in rows} > known
    shapes = {tuple(words[:at] + words[at + 1 :]) for words in map(str.split, known) for at in range(len(words))}
    for row in rows[::100]:
        words = row["title"].split()
        assert row["title"] in known or any(tuple(words[:at] + words[at + 1 :]) in shapes for at in range(len(words)))

    write_queries(titles, tmp_path / "queries.txt")
    drawn = read_queries(tmp_path / "queries.txt")
    assert len(drawn) > 500
    assert {len(query.split()) for query in drawn} <= {1, 2, 3, 4, 5}
    assert {word for query in drawn for word in query.split()} <= {word for title in known for word in title.split()}
    write_queries(shop / "products.parquet", tmp_path / "queries.txt")
    assert read_queries(tmp_path / "queries.txt") == read_queries(shop / "queries.parquet")


def test_material_of_other_titles_or_towers_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    titles = tmp_path / "products.parquet"
    arguments = ["--titles", str(titles), "--out", str(tmp_path / "stand")]
    titles.write_text("no parquet, so nothing is made of it")
    for _ in range(2):
        with pytest.raises(pa.ArrowInvalid):
            make_material(arguments)
    config = tmp_path / "bench.json"  # as in another checkout
    config.write_bytes((TOWER_CONFIGS / "bench.json").read_bytes())
    with pytest.raises(pa.ArrowInvalid):
        make_material([*arguments, "--config", str(config)])
    config.write_text("{}")
    with pytest.raises(SystemExit):
        make_material([*arguments, "--config", str(config)])
    assert "remove it, or give another folder" in capsys.readouterr().err
    titles.write_text("others")
    with pytest.raises(SystemExit):
        make_material(arguments)
    assert "remove it, or give another folder" in capsys.readouterr().err


def test_a_failing_peer_is_left_out_and_the_results_are_kept(tmp_path: Path) -> None:
    reading = Reading(queries_per_s=10.0, cpu_ms=1.0)

    def measure(rounds: int) -> Callable[[], Reading]:
        """Return a measurement that works `rounds` times and then fails."""
        left = [reading] * rounds

        def measured() -> Reading:
            if not left:
                raise HarnessFailure("it is gone\nand more")
            return left.pop()

        return measured

    stopped: list[str] = []
    with ExitStack() as stop:
        stop.callback(stopped.append, "Peer")
        measures = {("Peer", "a"): measure(1), ("Peer", "b"): measure(2), (OURS, "a"): measure(3)}
        seen = Found(tmp_path / "results.json")
        measure_rounds(measures, 3, seen, peers={"Peer": stop}, done=lambda: None)
        assert stopped == ["Peer"]
    assert seen.whole == {(OURS, "a"): [reading] * 3}
    assert seen.left_out == {"Peer": "it failed in round 2, a: it is gone"}

    seen = Found(tmp_path / "results.json")
    with pytest.raises(HarnessFailure, match="it is gone"):
        measure_rounds({(OURS, "a"): measure(2), (OURS, "b"): measure(3)}, 3, seen, peers={}, done=int)
    assert seen.rounds == 2
    kept = json.loads((tmp_path / "results.json").read_text())["readings"]
    assert [(one["server"], one["load"], len(one["rounds"])) for one in kept] == [(OURS, "a", 2), (OURS, "b", 2)]


def test_wrong_options_are_refused_before_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "document.md"
    document.write_text("no markers\n")
    for wrong, says in (
        (["--rounds", "0"], "--rounds must be at least 1, got 0"),
        (["--seconds", "0"], "--seconds must be at least 0.2, got 0"),
        (["--document", str(document)], "needs the lines <!-- bench: begin -->"),
        (["--document", str(tmp_path / "none.md")], "must be a file, and there is none"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["--out", str(tmp_path / "out"), *wrong])
        assert ended.value.code == 2
        assert says in capsys.readouterr().err


def test_the_bench_starts_without_the_packages_of_the_peers() -> None:
    only = {"orjson", "fastapi", "uvicorn", "bentoml", "pytriton"}
    code = f"import sys, shopwindow_loadtests.peers.__main__; print({only!r} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


# The batcher in slices is the same service with another setting.
@pytest.mark.parametrize("peer", [peer for peer in PEERS if not peer.sliced], ids=lambda peer: peer.name)
def test_a_peer_does_the_same_work_and_ends_with_all_its_processes(
    peer: Peer,
    repository: Path,
    index: Path,
    pipeline: InProcessPipeline,
    shop: Path,
    shop_queries: list[str],
    tmp_path: Path,
) -> None:
    with running(peer, repository, index, tmp_path / "log") as target:
        check_answers(target, pipeline, shop_queries[:16])
        seen = drive(target, Load(clients=4, batch=2), queries=shop / "queries.parquet", seconds=1.0)
        assert seen.queries_per_s > 0
        assert seen.cpu_ms > 0
    assert list(members(target.pid)) == []


def test_a_small_run_measures_everything(retrieve_only: Path, index: Path, shop: Path, tmp_path: Path) -> None:
    alone = copied(retrieve_only, tmp_path / "model_repository")
    rmtree(alone / "product_index")  # the fused model does without it
    document = tmp_path / "document.md"
    document.write_text(f"{BEGIN}\n{END}\n")
    places = ["--repository", str(alone), "--index", str(index), "--queries", str(shop / "queries.parquet")]
    short = ["--rounds", "1", "--seconds", "0.3", "--open-seconds", "0.5", "--warm-up", "0", "--zipf-queries", "500"]
    out = tmp_path / "out"
    # Whether the targets hold means nothing here, with the demo's towers and half a second on a busy machine.
    assert main([*places, *short, "--peers", "--out", str(out), "--document", str(document)]) in (0, 1)
    kept = json.loads((out / "results.json").read_text())
    measured = {(one["server"], one["load"]) for one in kept["readings"]}
    assert measured == {
        (LIMIT, "1"),
        (LIMIT, "8"),
        *((OURS, load) for load in ("8 x 1", "32 x 1", "8 x 8")),
        (EMBEDDINGS, ZIPF),
        (CACHED, ZIPF),
    }
    [wave] = kept["open_loops"]
    assert wave["peak_per_s"] > 0
    for callers in ("overload", "throttled"):
        due = wave[callers]["sent"] + wave[callers]["unsent"] + wave[callers]["held_back"]
        assert due > wave["peak_per_s"] * 0.5
    assert wave["memory_before"] > 50 * 2**20  # processes with a pipeline each
    text = document.read_text()
    assert "Left out: BentoML, by --peers" in text
    assert "closed loop" in text
    assert "| a query after the overload is answered |" in text
