"""The plans of a whole repository, as `shopwindow plans` makes and checks them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow_export.errors import PlanError
from shopwindow_export.plans import (
    PlanKey,
    PlanManifest,
    build_plans,
    can_build_plans,
    check_plans,
    load_toolkit,
    machine,
    read_profile,
    tensorrt_module,
)
from shopwindow_export.plans import repository as plans_of_repository
from shopwindow_export.plans.manifest import sha256, write_plan
from shopwindow_export.plans.profile import read_config
from shopwindow_export.repository.rendering import GpuOptions, render_models
from shopwindow_export.validation.run import validate_repository

ROOT = Path(__file__).parents[3]
TOWERS = {"query_tower", "product_tower"}


@pytest.fixture
def repository(small_repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_repository, tmp_path / "model_repository"))


@pytest.fixture
def gpu_of_8_9(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU and TensorRT. TensorRT for RTX stands in for it."""
    rtx = load_toolkit("tensorrt_rtx")
    monkeypatch.setattr(plans_of_repository, "gpu_capabilities", lambda: ["8.9"])
    monkeypatch.setattr(plans_of_repository, "load_toolkit", lambda name: rtx)


def plan_files(repository: Path) -> set[str]:
    return {str(file.relative_to(repository)) for file in repository.rglob("*.plan*")}


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
@pytest.mark.usefixtures("gpu_of_8_9")
def test_both_towers_get_plans_and_keep_them(repository: Path, small_repository: Path, tmp_path: Path) -> None:
    built = build_plans(repository, progress=False)
    assert [result.reused for result in built] == [False, False]
    assert plan_files(repository) == {f"{tower}/1/model.plan{end}" for tower in TOWERS for end in ("", ".json")}
    assert {PlanManifest.read(result.plan).key.compute_capability for result in built} == {"8.9"}
    assert [result.reused for result in build_plans(repository, progress=False)] == [True, True]
    # the next export of the same checkpoint
    again = Path(shutil.copytree(small_repository, tmp_path / "again"))
    assert [result.reused for result in build_plans(again, earlier=repository, progress=False)] == [True, True]
    assert plan_files(again) == plan_files(repository)
    # validation has one complaint about each: Triton cannot load it
    faults = validate_repository(again, profile="gpu")
    plans = [problem.message for problem in faults if problem.file.endswith("model.plan")]
    assert len(plans) == 2
    assert all("built by tensorrt_rtx" in message for message in plans)


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
@pytest.mark.usefixtures("gpu_of_8_9")
def test_a_plan_gets_the_name_for_its_kind_of_gpu(repository: Path) -> None:
    bundle = Bundle.read(repository)
    render_models(repository, bundle, cpu_instances=1, gpu=GpuOptions(capabilities=("9.0", "8.9")))
    build_plans(repository, progress=False)
    assert plan_files(repository) == {f"{tower}/1/8.9.model.plan{end}" for tower in TOWERS for end in ("", ".json")}
    missing = [
        problem.file for problem in validate_repository(repository, profile="gpu") if "missing" in problem.message
    ]
    assert {file for file in missing if "plan" in file} == {f"{tower}/1/9.0.model.plan" for tower in TOWERS}


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
@pytest.mark.usefixtures("gpu_of_8_9")
def test_plans_for_other_kinds_of_gpu_are_copied_if_they_fit(
    repository: Path, small_repository: Path, tmp_path: Path
) -> None:
    again = Path(shutil.copytree(small_repository, tmp_path / "again"))
    for folder in (repository, again):
        gpu = GpuOptions(capabilities=("9.0", "8.9"))
        render_models(folder, Bundle.read(folder), cpu_instances=1, gpu=gpu)
    query, product = build_plans(repository, progress=False)
    elsewhere = replace(query.manifest.key, compute_capability="9.0")
    write_plan(query.plan.with_name("9.0.model.plan"), b"built on the other machine", elsewhere)
    other_graph = replace(product.manifest.key, compute_capability="9.0", onnx_sha256="f" * 64)
    write_plan(product.plan.with_name("9.0.model.plan"), b"built from another graph", other_graph)
    build_plans(again, earlier=repository, progress=False)
    kept = {"query_tower/1/9.0.model.plan", *(f"{tower}/1/8.9.model.plan" for tower in TOWERS)}
    assert plan_files(again) == {f"{plan}{end}" for plan in kept for end in ("", ".json")}
    assert (again / "query_tower/1/9.0.model.plan").read_bytes() == b"built on the other machine"


# Which module is imported.


def test_the_bindings_alone_count_as_tensorrt(tmp_path: Path) -> None:
    """NVIDIA's images hold the libraries and get only the bindings, a module with another name."""
    package = tmp_path / "tensorrt_bindings"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from tensorrt_rtx_bindings import *\nfrom tensorrt_rtx_bindings import __version__\n"
    )
    code = (
        "from shopwindow_export.plans import load_toolkit, tensorrt_module\n"
        "from shopwindow_export.plans import repository; repository.gpu_capabilities = lambda: ['9.0']\n"
        "from shopwindow_export.plans.machine import this_machine\n"
        "from shopwindow_loadtests.gpu.machine import facts, missing_abilities\n"
        "toolkit = load_toolkit('tensorrt')\n"
        "assert toolkit.builder() and repository.can_build_plans() and 'tensorrt' not in missing_abilities()\n"
        "print(tensorrt_module(), toolkit.name)\n"
        "print(toolkit.version, this_machine().tensorrt, facts()['versions']['tensorrt'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TRT_VERSION": "1.2.3"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    name, versions = done.stdout.splitlines()
    assert name == f"{tensorrt_module() or 'tensorrt_bindings'} tensorrt"
    assert len(set(versions.split())) == 1
    assert versions.split()[0] != "1.2.3"


@pytest.mark.parametrize(
    ("told", "expected"), [("11.1.0.106+cuda13.3", "11.1.0"), ("10.13.3.9", "10.13.3"), ("11.1", "11.1"), ("", None)]
)
def test_the_version_in_an_image_is_known_without_bindings(
    monkeypatch: pytest.MonkeyPatch, told: str, expected: str | None
) -> None:
    monkeypatch.setattr(machine, "tensorrt_module", lambda: None)
    monkeypatch.setenv("TRT_VERSION", told)
    assert machine.this_machine().tensorrt == expected


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


def test_a_check_refuses_texts_longer_than_the_position_table(repository: Path) -> None:
    config = repository / "product_tower" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [ 9 ]", "dims: [ 10 ]"))
    with pytest.raises(PlanError, match=r"product_tower/1/model.onnx at shapes up to title_ids \[32, 10\]"):
        check_plans(repository, progress=False)


def plans(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shopwindow.cli.main", "plans", *map(str, arguments)]
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


# Before a server starts.

WITHOUT_EXPORTERS = (
    "import runpy, sys\n"
    "for name in ('matplotlib', 'modelopt', 'onnx', 'onnxscript', 'safetensors', 'torch', 'transformers'):\n"
    "    sys.modules[name] = None\n"
    "sys.argv[0] = 'shopwindow'\n"
    "runpy.run_module('shopwindow.cli.main', run_name='__main__')\n"
)


def in_the_serving_image(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command without the packages that only exporting needs."""
    command = [sys.executable, "-c", WITHOUT_EXPORTERS, *map(str, arguments)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TRT_VERSION": "11.1.0.106"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def planned(repository: Path) -> Path:
    """A repository with plans of a TensorRT that no server has any more."""
    for tower in TOWERS:
        config = read_config(repository / tower / "config.pbtxt")
        plan = repository / tower / "1" / "model.plan"
        key = PlanKey(
            onnx_sha256=sha256(plan.with_name("model.onnx")),
            module="tensorrt",
            version="1.0.0.1",
            compute_capability="9.0",
            profile=read_profile(config),
            precision="fp32",
        )
        write_plan(plan, b"plan", key)
    return repository


def test_plans_that_do_not_fit_are_refused_before_triton_starts(planned: Path) -> None:
    done = in_the_serving_image("serve", "--profile", "gpu", "--repository", planned)
    assert done.returncode == 1
    assert done.stdout == ""
    first, *faults = done.stderr.splitlines()
    assert first == f"shopwindow serve: error: {planned} can't be served on this machine:"
    refused = [fault for fault in faults if "was built by TensorRT 1.0.0.1 and the server has" in fault]
    assert {fault.split()[1] for fault in refused} == {f"{tower}/1/model.plan:" for tower in TOWERS}
    assert not (planned.parent / "triton.log").exists()


def test_the_serving_image_validates_without_onnx(planned: Path) -> None:
    done = in_the_serving_image("validate", planned, "--profile", "gpu", "--tensorrt", "1.0")
    assert "was built by" not in done.stdout
    assert "Traceback" not in done.stderr
    other = in_the_serving_image("validate", planned, "--profile", "gpu", "--tensorrt", "2.0")
    assert other.returncode == 1
    assert other.stdout.count("was built by TensorRT 1.0.0.1 and the server has 2.0") == 2
