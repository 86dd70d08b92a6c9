"""Usable cores: affinity and the container's quota both limit them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shopwindow.base import machine


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [
        (8, "150000 100000\n", 2),
        (8, "20000 100000\n", 1),
        (1, "150000 100000\n", 1),
        (8, "max 100000\n", 8),
        (3, None, 3),
    ],
)
def test_affinity_and_quota_both_limit_the_usable_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, affinity: int, quota: str | None, expected: int
) -> None:
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    assert machine.usable_cores() == expected
