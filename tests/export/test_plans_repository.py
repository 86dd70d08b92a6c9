"""The plans of a whole repository, as `shopwindow plans` makes and checks them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from export.errors import PlanError
from export.plans import PlanManifest, build_plans, can_build_plans, check_plans, load_toolkit
from export.plans import repository as plans_of_repository
from export.render import GpuOptions, render_models
from export.validate import validate_repository
from retrieval.bundle import Bundle
from tests.export.graphs import write_repository

ROOT = Path(__file__).parents[2]
TOWERS = {"query_tower", "product_tower"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("exported") / "model_repository")


@pytest.fixture
def repository(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model_repository"))


@pytest.fixture
def gpu_of_8_9(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU and TensorRT, as far as the RTX one can stand in for it."""
    rtx = load_toolkit("tensorrt_rtx")
    monkeypatch.setattr(plans_of_repository, "gpu_capabilities", lambda: ["8.9"])
    monkeypatch.setattr(plans_of_repository, "load_toolkit", lambda name: rtx)


def plan_files(repository: Path) -> set[str]:
    return {str(file.relative_to(repository)) for file in repository.rglob("*.plan*")}


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
@pytest.mark.usefixtures("gpu_of_8_9")
def test_both_towers_get_plans_that_are_kept(repository: Path, exported: Path, tmp_path: Path) -> None:
    built = build_plans(repository, progress=False)
    assert [result.reused for result in built] == [False, False]
    assert plan_files(repository) == {f"{tower}/1/model.plan{end}" for tower in TOWERS for end in ("", ".json")}
    assert {PlanManifest.read(result.plan).key.compute_capability for result in built} == {"8.9"}
    assert [result.reused for result in build_plans(repository, progress=False)] == [True, True]
    # the next export of the same checkpoint
    again = Path(shutil.copytree(exported, tmp_path / "again"))
    assert [result.reused for result in build_plans(again, earlier=repository, progress=False)] == [True, True]
    assert plan_files(again) == plan_files(repository)
    # and what validation has to say of them: Triton can't load them, and that is all
    faults = validate_repository(again, profile="gpu")
    plans = [problem.message for problem in faults if problem.file.endswith("model.plan")]
    assert len(plans) == 2
    assert all("built by tensorrt_rtx" in message for message in plans)


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
@pytest.mark.usefixtures("gpu_of_8_9")
def test_a_plan_is_written_where_this_kind_of_gpu_looks_for_it(repository: Path) -> None:
    bundle = Bundle.read(repository)
    render_models(repository, bundle, cpu_instances=1, gpu=GpuOptions(capabilities=("9.0", "8.9")))
    build_plans(repository, progress=False)
    assert plan_files(repository) == {f"{tower}/1/8.9.model.plan{end}" for tower in TOWERS for end in ("", ".json")}
    missing = [
        problem.file for problem in validate_repository(repository, profile="gpu") if "missing" in problem.message
    ]
    assert {file for file in missing if "plan" in file} == {f"{tower}/1/9.0.model.plan" for tower in TOWERS}


def test_without_tensorrt_or_a_gpu_nothing_is_built(repository: Path) -> None:
    if can_build_plans():
        assert {result.manifest.key.module for result in build_plans(repository, progress=False)} == {"tensorrt"}
        return
    with pytest.raises(PlanError, match="--check"):
        build_plans(repository, progress=False)
    assert plan_files(repository) == set()


def test_a_check_leaves_nothing_behind(repository: Path) -> None:
    assert check_plans(repository, progress=False).keys() == TOWERS
    assert plan_files(repository) == set()


def test_a_longer_text_in_the_config_than_the_towers_have_positions_for(repository: Path) -> None:
    config = repository / "product_tower" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [ 9 ]", "dims: [ 10 ]"))
    with pytest.raises(PlanError, match=r"product_tower/1/model.onnx at shapes up to title_ids \[32, 10\]"):
        check_plans(repository, progress=False)


def plans(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", "plans", *map(str, arguments)]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=hidden, capture_output=True, text=True, timeout=120)


def test_the_command_checks(repository: Path) -> None:
    done = plans("--repository", repository, "--check")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(": tensorrt_rtx ")[0] for line in lines[:2]] == ["query_tower", "product_tower"]
    assert "no plan was written" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--trt-module", "tensorrt_rtx"), "do not load in Triton, so they are not written; add --check"),
        ((), "'shopwindow plans --check' compiles the graphs"),  # no TensorRT here, or no GPU
        (("--check", "--repository", "nowhere"), "make a model repository with 'shopwindow export'"),
    ],
)
def test_the_command_says_why_it_builds_nothing(repository: Path, arguments: tuple[str, ...], words: str) -> None:
    done = plans("--repository", repository, *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
