"""`make bench`: targets on planted figures, the document, and a peer that does the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.bisect_load import check_answers, drive
from loadtests.bisect_reading import Load, Reading
from loadtests.bisect_run import LIMIT
from loadtests.peers.goals import CACHED, OURS, OpenLoop, goals
from loadtests.peers.overload import Overload, judge
from loadtests.peers.report import BEGIN, END, rows, write_section
from loadtests.peers.running import BATCHER, PEERS, running
from loadtests.peers.zipf import widen
from retrieval import InProcessPipeline
from serving.processes import members

ZIPF = "32 x 1, Zipf 1"


def planted(*figures: tuple[float, float]) -> list[Reading]:
    """A reading a round, from (queries_per_s, cpu_ms)."""
    return [Reading(queries_per_s=rate, cpu_ms=cpu) for rate, cpu in figures]


READINGS = {
    (LIMIT, "8"): planted((900, 2.0), (450, 4.0), (900, 2.0)),
    (OURS, "8 x 8"): planted((850, 2.08), (425, 4.16), (850, 2.08)),  # 1.04 of the limit, in a slow round too
    (OURS, "32 x 1"): planted((570, 2.6), (285, 5.2), (570, 2.6)),  # 1.30 of it
    (BATCHER, "32 x 1"): planted((500, 2.8), (250, 5.6), (500, 2.8)),  # 1.14 times its throughput
    (CACHED, ZIPF): planted((900, 1.0), (450, 2.0), (900, 1.0)),
    (BATCHER, ZIPF): planted((500, 2.8), (250, 5.6), (500, 2.8)),  # 1.8
}


def wave(*, good: int, rejected_ms: float | None, late_ms: float = 3.0) -> Overload:
    return Overload(
        seconds=10.0,
        sent=17_100,
        unsent=0,
        late_ms=late_ms,
        good=good,
        rejected=0 if rejected_ms is None else 9_000,
        rejected_ms=rejected_ms,
        errors={} if rejected_ms is None else {"UNAVAILABLE: full": 9_000},
    )


def found(open_loops: list[OpenLoop]) -> dict[str, tuple[bool, float | None]]:
    return {goal.name: (goal.passed, goal.ratio) for goal in goals(READINGS, ZIPF, open_loops)}


def test_targets_are_ratios_of_what_was_measured() -> None:
    loops = [
        OpenLoop(
            peak_per_s=570.0,
            half_p50_ms=4.0,
            half_p99_ms=p99,
            half_late_ms=2.0,
            overload=wave(good=5_301, rejected_ms=40.0),
        )
        for p99 in (8.0, 40.0, 10.0)
    ]
    assert found(loops) == {
        "server CPU a query, 8 x 8, over the in-process limit": (True, pytest.approx(1.04)),
        "server CPU a query, 32 x 1, over the in-process limit": (False, pytest.approx(1.3)),
        "throughput, 32 x 1, over FastAPI, batcher": (True, pytest.approx(1.14)),
        "throughput, 32 x 1, Zipf 1, over FastAPI, batcher": (False, pytest.approx(1.8)),
        "p99 over p50 at half of the saturation rate": (True, pytest.approx(2.5)),
        "goodput at 3 x saturation, over the peak": (True, pytest.approx(0.93)),
        "p99 until a request is rejected, over 50 ms": (True, pytest.approx(0.8)),
    }


def test_what_was_not_measured_does_not_pass() -> None:
    verdicts = found([])
    for name in list(verdicts)[4:]:
        assert verdicts[name] == (False, None)
    unmeasured = goals({key: some for key, some in READINGS.items() if key[0] != BATCHER}, ZIPF, [])
    assert not any(goal.passed for goal in unmeasured if BATCHER in goal.name)


def test_a_late_rejection_and_a_lost_goodput_fail_and_no_rejection_is_no_late_one() -> None:
    def verdicts(half_late_ms: float = 2.0, **changes: float | None) -> list[tuple[bool, float | None]]:
        some = wave(**{"good": 5_000, "rejected_ms": 51.0, **changes})  # type: ignore[arg-type]
        loop = OpenLoop(peak_per_s=570.0, half_p50_ms=4.0, half_p99_ms=8.0, half_late_ms=half_late_ms, overload=some)
        return list(found([loop]).values())[-3:]

    assert [passed for passed, _ in verdicts()] == [True, False, False]
    assert verdicts(good=5_200, rejected_ms=None)[1:] == [(True, pytest.approx(5_200 / 5_700)), (True, 0.0)]
    # What the harness could not bring about was not measured.
    assert verdicts(half_late_ms=200.0)[0] == (False, None)
    assert verdicts(good=16_000, rejected_ms=None)[1:] == [(False, None), (False, None)]  # the peak was none
    assert verdicts(late_ms=700.0)[1:] == [(False, None), (False, None)]


def test_an_overload_counts_what_came_in_time_and_how_long_a_refusal_took() -> None:
    outcomes = [
        (10.0, 10.0, 10.5, ""),
        (10.1, 10.2, 11.3, ""),  # 1.2 s after it was due
        (11.5, 11.5, 12.1, ""),  # in time, but after the last was due
        (10.4, 10.5, 10.53, "UNAVAILABLE: full"),
        (10.6, 10.6, 10.62, "UNAVAILABLE: full"),
    ]
    seen = judge(outcomes, began=10.0, unsent=4, seconds=2.0)
    assert (seen.sent, seen.unsent, seen.good, seen.rejected) == (5, 4, 1, 2)
    assert seen.rejected_ms == pytest.approx(30, rel=0.02)
    assert seen.late_ms == pytest.approx(100, rel=0.02)
    assert seen.errors == {"UNAVAILABLE: full": 2}


def test_ratios_in_the_table_are_ours_over_theirs() -> None:
    cells = {(row[0], row[1]): row[-2:] for row in rows(READINGS)}
    assert cells["32 x 1", BATCHER] == ["1.14", "0.93"]
    assert cells["32 x 1", OURS] == ["1.00", "1.00"]
    assert cells[ZIPF, BATCHER] == ["1.80", "0.36"]
    assert cells["batch 8", LIMIT] == ["-", "-"]


def test_the_section_replaces_what_stood_between_the_markers(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    write_section(
        document, READINGS, goals(READINGS, ZIPF, []), notes=["a machine"], left_out={"BentoML": "by --peers"}
    )
    text = document.read_text()
    assert text.startswith("# Before")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert "| FAIL | throughput, 32 x 1, Zipf 1, over FastAPI, batcher | at least 2 | 1.800 |  |" in text
    assert "Left out: BentoML, by --peers" in text
    assert (tmp_path / "benchmarks" / "peers.png").stat().st_size > 1_000
    document.write_text("nothing\n")
    with pytest.raises(ValueError, match="needs the lines <!-- bench: begin -->"):
        write_section(document, READINGS, [], notes=[], left_out={})


def test_queries_are_widened_by_new_ones_of_the_same_words() -> None:
    queries = ["red dress", "blue mug", "tall brass floor lamp"]
    wide = widen(queries, 40)
    assert wide[:3] == queries
    assert len(wide) == len(set(wide)) == 40
    assert {word for query in wide for word in query.split()} == {word for query in queries for word in query.split()}
    assert {len(query.split()) for query in wide} == {2, 4}
    assert widen(queries, 40) == wide
    assert widen(["a", "b"], 40) == ["a", "b"]  # there are no more


def test_a_peer_does_the_same_work_and_is_gone_afterwards(
    repository: Path, index: Path, pipeline: InProcessPipeline, shop: Path, shop_queries: list[str], tmp_path: Path
) -> None:
    [batcher] = [peer for peer in PEERS if peer.name == BATCHER]
    if batcher.missing:
        pytest.skip(f"needs {', '.join(batcher.missing)}, of the extra 'bench'")
    with running(batcher, repository, index, tmp_path / "log") as target:
        check_answers(target, pipeline, shop_queries[:16])
        seen = drive(target, Load(clients=4, batch=2), queries=shop / "queries.parquet", seconds=0.3)
        assert seen.queries_per_s > 0
        assert seen.cpu_ms > 0
    assert list(members(target.pid)) == []
