"""The memory bank: first in, first out, embeddings with their ids."""

from __future__ import annotations

import torch

from shopwindow.towers.objectives.memory_bank import MemoryBank


def rows(*numbers: float) -> torch.Tensor:
    return torch.tensor([[number, -number] for number in numbers], dtype=torch.float32)


def ids(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)


def contents(bank: MemoryBank) -> dict[int, float]:
    embeddings, known = bank.read()
    return {int(i): float(e[0]) for e, i in zip(embeddings, known, strict=True)}


def test_the_oldest_rows_leave_first() -> None:
    bank = MemoryBank(3, 2)
    assert contents(bank) == {}
    bank.push(rows(1, 2), ids(1, 2))
    assert contents(bank) == {1: 1.0, 2: 2.0}
    bank.push(rows(3, 4), ids(3, 4))
    assert contents(bank) == {2: 2.0, 3: 3.0, 4: 4.0}
    bank.push(rows(5, 6, 7, 8), ids(5, 6, 7, 8))  # more than fit: the last ones stay
    assert contents(bank) == {6: 6.0, 7: 7.0, 8: 8.0}


def test_a_bank_of_size_0_stays_empty() -> None:
    bank = MemoryBank(0, 2)
    bank.push(rows(1), ids(1))
    embeddings, known = bank.read()
    assert embeddings.shape == (0, 2)
    assert known.shape == (0,)


def test_the_bank_holds_copies_without_gradient() -> None:
    bank = MemoryBank(2, 2)
    source = rows(1, 2).requires_grad_()
    bank.push(source, ids(1, 2))
    with torch.no_grad():
        source += 10
    assert not bank.read()[0].requires_grad
    assert contents(bank) == {1: 1.0, 2: 2.0}


def test_a_bank_restored_from_its_state_goes_on_the_same_way() -> None:
    bank, resumed = MemoryBank(3, 2), MemoryBank(3, 2)
    bank.push(rows(1, 2), ids(1, 2))
    resumed.load_state_dict(bank.state_dict())
    for one in (bank, resumed):
        one.push(rows(3, 4), ids(3, 4))
    assert contents(resumed) == contents(bank) == {2: 2.0, 3: 3.0, 4: 4.0}
