"""Threads that share out a batch: all of it is done, in order, at the same time, and a failure is told."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopwindow.triton_models.worker_threads import WorkerThreads, cut


def test_parts_are_worked_on_at_the_same_time_and_returned_in_order() -> None:
    team = WorkerThreads(3)
    together = threading.Barrier(3, timeout=10)
    threads = set()

    def work(part: int) -> int:
        together.wait()  # passes only when all three are there
        threads.add(threading.get_ident())
        return part * part

    assert team.map(work, [3, 4, 5]) == [9, 16, 25]
    assert len(threads) == 3
    assert threading.get_ident() in threads
    team.close()


def test_one_thread_alone_is_the_callers() -> None:
    assert WorkerThreads(1).map(lambda _: threading.get_ident(), [0, 0]) == [threading.get_ident()] * 2
    with pytest.raises(ValueError, match="1 or more, got 0"):
        WorkerThreads(0)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_is_raised_once_nobody_works_any_more(failing: int) -> None:
    done, failed = threading.Event(), threading.Event()

    def work(part: int) -> None:
        if part == failing:
            failed.set()
            raise ValueError("broken")
        assert failed.wait(10)
        done.set()

    team = WorkerThreads(2)
    with pytest.raises(ValueError, match="broken"):
        team.map(work, [0, 1])
    assert done.is_set()
    assert team.map(abs, [-1, -2]) == [1, 2]  # it goes on
    team.close()


@given(st.lists(st.integers(1, 100), min_size=1, max_size=70), st.integers(1, 8))
def test_a_cut_leaves_nothing_out_and_no_part_is_more_than_its_share_and_one(sizes: list[int], count: int) -> None:
    parts = cut(sizes, count)
    assert [size for part in parts for size in sizes[part]] == sizes
    assert 1 <= len(parts) <= count
    assert all(sizes[part] for part in parts)
    assert max(sum(sizes[part]) for part in parts) <= sum(sizes) / count + max(sizes)


def test_a_cut_takes_sizes_into_account() -> None:
    assert cut([1] * 8, 2) == [slice(0, 4), slice(4, 8)]
    assert cut([1, 1, 1, 1, 4], 2) == [slice(0, 4), slice(4, 5)]
    assert cut([64, 1], 2) == cut([1, 64], 2) == [slice(0, 1), slice(1, 2)]
