"""Threads that share a batch: they work at the same time, results come in order, and failures are raised."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopwindow.triton_models.worker_threads import WorkerThreads, cut


def test_threads_work_at_the_same_time_and_results_come_in_order() -> None:
    workers = WorkerThreads(3)
    together = threading.Barrier(3, timeout=10)
    threads = set()

    def work(part: int) -> int:
        together.wait()  # passes only if all three threads wait here
        threads.add(threading.get_ident())
        return part * part

    assert workers.map(work, [3, 4, 5]) == [9, 16, 25]
    assert len(threads) == 3
    assert threading.get_ident() in threads
    workers.close()


def test_with_size_1_only_the_callers_thread_works() -> None:
    assert WorkerThreads(1).map(lambda _: threading.get_ident(), [0, 0]) == [threading.get_ident()] * 2
    with pytest.raises(ValueError, match="1 or more, got 0"):
        WorkerThreads(0)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_is_raised_after_all_threads_have_finished(failing: int) -> None:
    done, failed = threading.Event(), threading.Event()

    def work(part: int) -> None:
        if part == failing:
            failed.set()
            raise ValueError("broken")
        assert failed.wait(10)
        done.set()

    workers = WorkerThreads(2)
    with pytest.raises(ValueError, match="broken"):
        workers.map(work, [0, 1])
    assert done.is_set()
    assert workers.map(abs, [-1, -2]) == [1, 2]  # the threads still work
    workers.close()


@given(st.lists(st.integers(1, 100), min_size=1, max_size=70), st.integers(1, 8))
def test_cut_parts_are_complete_and_none_exceeds_its_share_by_more_than_one_element(
    sizes: list[int], count: int
) -> None:
    parts = cut(sizes, count)
    assert [size for part in parts for size in sizes[part]] == sizes
    assert 1 <= len(parts) <= count
    assert all(sizes[part] for part in parts)
    assert max(sum(sizes[part]) for part in parts) <= sum(sizes) / count + max(sizes)


def test_cutting_takes_sizes_into_account() -> None:
    assert cut([1] * 8, 2) == [slice(0, 4), slice(4, 8)]
    assert cut([1, 1, 1, 1, 4], 2) == [slice(0, 4), slice(4, 5)]
    assert cut([64, 1], 2) == cut([1, 64], 2) == [slice(0, 1), slice(1, 2)]
