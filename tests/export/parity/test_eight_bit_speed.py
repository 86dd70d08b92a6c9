"""The measurement of what 8 bits gain: which graphs it compares, and which figures it prints."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto
from tokenizers import Tokenizer

from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow_export.parity import eight_bit_speed, speed
from shopwindow_export.parity.speed import Speed, measure_speed
from tests.towers.small import SIZES

TOKENIZER = Path(__file__).parents[3] / "shopwindow" / "demo" / "checkpoint" / "tokenizer.json"


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_the_ratio_comes_from_the_median_round(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = Clock(), 0
    monkeypatch.setattr(speed, "time", clock)

    def slow() -> None:
        nonlocal calls
        calls += 1
        clock.work(300.0 if calls % 4 == 0 else 3.0)  # every fourth round was disturbed

    assert speed._ratio(slow, lambda: clock.work(2.0)) == 1.5
    assert calls >= speed.ROUNDS


def test_random_towers_are_compared_as_float32_and_as_8_bits(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"vocab_size": Tokenizer.from_file(str(TOKENIZER)).get_vocab_size(), "towers": SIZES}
    (tmp_path / "config.json").write_text(json.dumps(config))
    given = {"config": tmp_path / "config.json", "sample": shop / "products.parquet", "tokenizer": TOKENIZER}
    monkeypatch.setattr(sys, "argv", ["eight_bit_speed", *(f"--{name}={path}" for name, path in given.items())])
    monkeypatch.setattr(speed, "ROUNDS", 1)
    found: list[Speed] = []

    def measure(fp32: Path, int8: Path, *rest: Any) -> Speed:
        for folder, small in ((fp32, False), (int8, True)):
            layout = RepositoryLayout(folder)
            for tower in (layout.query_tower, layout.product_tower):
                kinds = {weights.data_type for weights in onnx.load(str(tower)).graph.initializer}
                assert (TensorProto.INT8 in kinds) is small, tower
        found.append(measure_speed(fp32, int8, *rest))
        return found[0]

    monkeypatch.setattr(eight_bit_speed, "measure_speed", measure)
    eight_bit_speed.main()
    [query, product] = re.findall(r"(query|product) tower (\d+\.\d\d) times", capsys.readouterr().out)
    assert query == ("query", f"{found[0].query_tower:.2f}") and float(query[1]) > 0
    assert product == ("product", f"{found[0].product_tower:.2f}") and float(product[1]) > 0
