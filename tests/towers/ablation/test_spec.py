"""Specs of ablations: how settings merge, and which specs are refused before training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shopwindow.towers.ablation.spec import FULL, merge, read_spec
from tests.conftest import ROOT
from tests.towers.small import SIZES

BASE: dict[str, Any] = {"vocab_size": 60, "towers": SIZES, "training": {"steps": 9, "batch_size": 8}}


def write(folder: Path, **spec: Any) -> Path:
    (folder / "spec.json").write_text(json.dumps({"base": BASE, "variants": {"full": {}}, **spec}))
    return folder / "spec.json"


def test_a_variant_changes_its_own_keys_and_keeps_the_others(tmp_path: Path) -> None:
    variants = {
        "full": {},
        "wide": {"towers": {"hidden_size": 32}, "training": {"steps": 2}, "vocab_size": 70, "processes": 2},
        "flat": {"training": {"memory_bank": 0}, "compare_with": "wide"},
    }
    full, wide, flat = read_spec(write(tmp_path, changes={"training": {"steps": 5}}, variants=variants))
    training = {"steps": 5, "batch_size": 8}
    assert full.settings == {"vocab_size": 60, "towers": SIZES, "training": training}
    assert wide.settings == {
        "vocab_size": 70,
        "towers": {**SIZES, "hidden_size": 32},
        "training": {"steps": 2, "batch_size": 8},
    }
    assert flat.settings == {"vocab_size": 60, "towers": SIZES, "training": {**training, "memory_bank": 0}}
    assert [(v.processes, v.compare_with) for v in (full, wide, flat)] == [(1, "full"), (2, "full"), (1, "wide")]


def test_merging_leaves_the_base_as_it_was() -> None:
    merge(BASE, {"training": {"steps": 1}})["training"]["batch_size"] = 1
    assert BASE["training"] == {"steps": 9, "batch_size": 8}


def test_the_base_may_be_a_file_beside_the_spec(tmp_path: Path) -> None:
    (tmp_path / "small.json").write_text(json.dumps(BASE))
    assert read_spec(write(tmp_path, base="small.json"))[0].settings == BASE


def test_the_spec_in_configs_can_be_read() -> None:
    variants = read_spec(ROOT / "shopwindow" / "towers" / "configs" / "ablation.json")
    assert variants[0].name == FULL
    assert len({json.dumps([variant.settings, variant.processes]) for variant in variants}) == len(variants)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"speed": 5}, r"spec\.json: unknown keys \['speed'\]; known: \['base', 'changes', 'variants'\]"),
        (
            {"changes": {"steps": 5}},
            r"spec\.json: changes: unknown keys \['steps'\]; known: \['towers', 'training', 'vocab_",
        ),
        ({"variants": {}}, r"needs base, and at least one variant in variants"),
        ({"base": {**BASE, "speed": 5}}, r"variant 'full': base: unknown keys \['speed'\]"),
        ({"base": {"towers": SIZES, "training": {}}}, r"variant 'full': the settings lack 'vocab_size'"),
        ({"base": {"towers": SIZES, "training": {}, "vocab_size": 9}}, r"variant 'full': .*'steps'"),
        ({"variants": {"full": {}, "x": {"speed": 5}}}, r"variant 'x': unknown keys \['speed'\]"),
        ({"variants": {"full": {}, "x": {"towers": {"speed": 5}}}}, r"variant 'x': towers: unknown keys \['speed'\]"),
        ({"variants": {"full": {}, "x": {"training": {"speed": 5}}}}, r"'x': training: unknown keys \['speed'\]"),
        ({"variants": {"full": {}, "x": {"towers": {"heads": 5}}}}, r"variant 'x': heads: must divide"),
        ({"variants": {"full": {}, "x": {"processes": 0}}}, r"variant 'x': processes must be a whole number from 1"),
        ({"variants": {"x": {}}}, r"variant 'x': compare_with must be one of \['x'\], got 'full'"),
        ({"variants": {"full": {}, "x": {"training": {"hold_out": 0.2}}}}, r"hold_out must .* got \[0\.0, 0\.2\]"),
        ({"variants": {"full": {}, "../x": {}}}, r"variant '\.\./x': the name must be usable as a folder name"),
    ],
)
def test_an_invalid_spec_is_refused(tmp_path: Path, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_spec(write(tmp_path, **spec))
