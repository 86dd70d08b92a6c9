"""The queue of a model instance: who is answered at once, who later, and who is refused."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from retrieval.backlog import Backlog

FULL = 4


class Model:
    """Answers `n` with `n * 10`, when it may, and notes the batches."""

    def __init__(self, limit_s: float) -> None:
        self.may = threading.Event()
        self.may.set()
        self.began = threading.Semaphore(0)
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.sent: dict[int, int] = {}
        self.all_sent = threading.Condition()
        self.backlog = Backlog[int, int](
            self._answer, self._send, lambda waiting: -waiting, full_rows=FULL, limit_s=limit_s
        )

    def _answer(self, requests: Sequence[int], waited: Sequence[float]) -> list[int]:
        self.threads.add(threading.get_ident())
        assert len(waited) == len(requests)
        self.batches.append(list(requests))
        self.began.release()
        assert self.may.wait(30)
        return [request * 10 for request in requests]

    def _send(self, request: int, response: int) -> None:
        with self.all_sent:
            self.sent[request] = response
            self.all_sent.notify_all()

    def until_sent(self, number: int) -> None:
        with self.all_sent:
            assert self.all_sent.wait_for(lambda: len(self.sent) == number, 30)

    def block(self) -> None:
        """A full batch, then one that is begun and not ended."""
        assert self.backlog.take([0, 1, 2, 3], FULL) == [0, 10, 20, 30]
        self.may.clear()
        assert self.backlog.take([4], 1) is None
        assert self.began.acquire(timeout=30)  # of the first
        assert self.began.acquire(timeout=30)


@pytest.fixture
def patient() -> Model:
    return Model(limit_s=float("inf"))


def test_while_batches_are_not_full_they_are_answered_where_they_are_taken(patient: Model) -> None:
    for first in range(5):
        assert patient.backlog.take([first, first + 1], FULL - 1) == [first * 10, first * 10 + 10]
    assert patient.threads == {threading.get_ident()}
    assert patient.sent == {}


def test_what_comes_after_a_full_batch_waits_and_is_answered_together(patient: Model) -> None:
    patient.block()
    assert [patient.backlog.take([request], 1) for request in (5, 6, 7, 8, 9)] == [None] * 5
    patient.may.set()
    patient.until_sent(6)
    assert patient.sent == {request: request * 10 for request in range(4, 10)}
    assert patient.batches == [[0, 1, 2, 3], [4], [5, 6, 7, 8], [9]]
    assert threading.get_ident() in patient.threads
    assert len(patient.threads) == 2


def test_requests_of_many_rows_are_not_put_together_beyond_a_batch(patient: Model) -> None:
    patient.block()
    assert [patient.backlog.take([request], 3) for request in (5, 6)] == [None] * 2
    patient.may.set()
    patient.until_sent(3)
    assert patient.batches[1:] == [[4], [5], [6]]


def test_who_would_wait_too_long_is_refused_while_the_model_works() -> None:
    model = Model(limit_s=0.0)
    model.block()
    assert [model.backlog.take([request], 2) for request in (5, 6)] == [None] * 2  # a full batch may wait
    assert model.backlog.take([7, 8], 2) == [-FULL, -FULL]  # four rows do
    assert 7 not in model.sent
    model.may.set()
    model.until_sent(3)
    assert model.sent == {4: 40, 5: 50, 6: 60}


def test_when_nothing_waits_all_is_as_before(patient: Model) -> None:
    patient.block()
    patient.may.set()
    patient.until_sent(1)
    patient.backlog.close()  # the thread is surely done
    assert patient.backlog.take([5], 1) == [50]


def test_closing_answers_what_waits(patient: Model) -> None:
    patient.block()
    assert patient.backlog.take([5, 6], 2) is None
    closing = threading.Thread(target=patient.backlog.close)
    closing.start()
    patient.may.set()
    closing.join(30)
    assert not closing.is_alive()
    assert patient.sent == {4: 40, 5: 50, 6: 60}
