"""shopwindow validate: what it prints, and its exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.command_line import shopwindow, succeeds


@pytest.mark.parametrize("profile", ["cpu", "cpu-ensemble"])
def test_validate_passes_an_exported_repository(repository: Path, profile: str) -> None:
    report = json.loads(succeeds("validate", repository, "--profile", profile, "--json"))
    assert report["ok"]
    assert [problem for problem in report["problems"] if problem["severity"] == "error"] == []


def test_validate_fails_a_broken_repository(repository: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model_repository"
    shutil.copytree(repository, copy)
    (copy / "query_tower" / "1" / "model.py").unlink()
    done = shopwindow("validate", copy, "--profile", "cpu-ensemble", "--json")
    assert done.code == 1
    report = json.loads(done.stdout)
    assert not report["ok"]
    assert any(problem["severity"] == "error" for problem in report["problems"])


def test_validate_fails_without_a_repository(tmp_path: Path) -> None:
    done = shopwindow("validate", tmp_path / "none")
    assert done.code == 1
    assert str(tmp_path / "none") in done.stdout


def test_validate_fails_a_profile_that_no_model_has(repository: Path) -> None:
    done = shopwindow("validate", repository, "--profile", "cpuu")
    assert done.code == 1
    assert "profile: no model has a configs/cpuu.pbtxt" in done.stdout
