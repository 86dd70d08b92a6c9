"""validate_repository on texts, names and files of a repository, one fault at a time, and on profiles."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shopwindow_export.validation.run import validate_repository
from tests.export.validation.sound_repository import (
    CONFIGS,
    INDEX,
    RETRIEVE,
    TOWER,
    Breakage,
    both,
    cases,
    edit,
    expect_one,
    remove,
)

GPU_TOWER, GPU_INDEX = "query_tower/config.pbtxt", "product_index/config.pbtxt"

TEXT = {
    "unknown field": (edit(INDEX, ("max_batch_size", "max_batch_sise")), INDEX, ("max_batch_sise", "'max_batch_size'")),
    "unknown nested field": (
        edit(RETRIEVE, ("input_map {", "inputs_map {")),
        RETRIEVE,
        ("inputs_map", "did you mean 'input_map'"),
    ),
    "unknown data type": (edit(INDEX, ("TYPE_INT64", "TYPE_INT46")), INDEX, ("TYPE_INT46", "'TYPE_INT64'")),
    "unclosed bracket": (edit(INDEX, ("dims: [ 64 ]", "dims: [ 64 ")), INDEX, ("does not parse",)),
    "scalar written twice": (
        edit(INDEX, ("max_batch_size: 64", "max_batch_size: 64 max_batch_size: 8")),
        INDEX,
        ("max_batch_size",),
    ),
    "two schedulers": (
        edit(RETRIEVE, ("ensemble_scheduling {", "dynamic_batching { }\nensemble_scheduling {")),
        RETRIEVE,
        ("dynamic_batching", "ensemble_scheduling"),
    ),
    "placeholder": (
        edit(INDEX, ("dims: [ 64 ]", "dims: [ ${embedding_dim} ]")),
        INDEX,
        ("${embedding_dim}", "not rendered"),
    ),
    "a config of another profile": (
        edit("query_tower/config.pbtxt", ("KIND_GPU", "KIND_GPUS")),
        "query_tower/config.pbtxt",
        ("KIND_GPUS", "KIND_GPU"),
    ),
    "field newer than the server": (
        edit(RETRIEVE, ("ensemble_scheduling {", "ensemble_scheduling { max_inflight_requests: 4")),
        RETRIEVE,
        ("max_inflight_requests", "2.51"),
    ),
}

IDENTITY_AND_FILES = {
    "other name": (edit(INDEX, ('name: "product_index"', 'name: "index"')), INDEX, ("'product_index'", "'index'")),
    "no backend": (edit(INDEX, ('backend: "python"', "")), INDEX, ("neither platform nor backend",)),
    "unknown platform": (
        edit(INDEX, ('backend: "python"', 'platform: "tensorrt_pln"')),
        INDEX,
        ("'tensorrt_pln'", "did you mean 'tensorrt_plan'"),
    ),
    "no version folder": (remove("product_index/1"), INDEX, ("no version folder", "product_index/1")),
    "no version folder of an ensemble": (remove("retrieve/1"), RETRIEVE, ("no version folder", "even for an ensemble")),
    "version folder with a leading zero": (
        lambda root: (root / "product_index/1").rename(root / "product_index/01"),
        INDEX,
        ("no version folder",),
    ),
    "version policy picks nothing": (
        edit(INDEX, ("max_batch_size", "version_policy { latest { num_versions: 0 } }\nmax_batch_size")),
        INDEX,
        ("version_policy", "none of the version folders (1)"),
    ),
    "model.py is missing": (remove("product_index/1/model.py"), "product_index/1/model.py", ("missing", "export")),
    "model.py is empty": (
        lambda root: (root / "product_index/1/model.py").write_text(""),
        "product_index/1/model.py",
        ("empty",),
    ),
    "other file name": (
        edit(INDEX, ('backend: "python"', 'backend: "python" default_model_filename: "index.py"')),
        "product_index/1/index.py",
        ("missing", "default_model_filename"),
    ),
    "newest version is incomplete": (
        lambda root: (root / "product_index/2").mkdir(),
        "product_index/2/model.py",
        ("missing",),
    ),
    "file name for a shell": (
        both(
            edit(INDEX, ('backend: "python"', 'backend: "python" default_model_filename: "1.py&"')),
            lambda root: (root / "product_index/1/model.py").rename(root / "product_index/1/1.py&"),
        ),
        INDEX,
        ("default_model_filename", "'&' (AMPERSAND)"),
    ),
    "instance name for a shell": (
        edit(TOWER, ("instance_group [ { ", 'instance_group [ { name: "a tower" ')),
        TOWER,
        ("instance_group.name", "' ' (SPACE)"),
    ),
    "stray folder": (lambda root: (root / "notes").mkdir(), "notes", ("no config.pbtxt", "move it out")),
}


@pytest.mark.parametrize(
    ("name", "character"),
    [
        ("my model", "' ' (SPACE)"),
        ("$(id)", "'$' (DOLLAR SIGN)"),
        ("modèle", "'è' (LATIN SMALL LETTER E WITH GRAVE)"),
        ("new\nline", "'\\n' (U+000A)"),
        ("b\udce4d", "the byte 0xE4, which is not UTF-8"),
    ],
)
def test_a_model_folder_that_triton_cannot_take_is_named_with_the_character(
    repository: Path, name: str, character: str
) -> None:
    shutil.copytree(repository / "query_tokenizer", repository / name)
    edit(f"{name}/config.pbtxt", ('name: "query_tokenizer"', ""))(repository)
    expect_one(repository, name, ("folder name", character))


def test_hidden_folders_and_lost_files_are_no_models(repository: Path) -> None:
    for name in (".git", ".ipynb_checkpoints", "lost+found"):
        (repository / name).mkdir()
    assert validate_repository(repository) == []


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_a_sound_repository_has_no_problems(repository: Path, profile: str) -> None:
    assert validate_repository(repository, profile=profile) == []


@pytest.mark.parametrize(("breakage", "file", "words"), cases({**TEXT, **IDENTITY_AND_FILES}))
def test_one_fault_is_one_problem(repository: Path, breakage: Breakage, file: str, words: tuple[str, ...]) -> None:
    breakage(repository)
    expect_one(repository, file, words)


def test_a_gpu_config_under_the_cpu_profile_is_told_to_have_a_cpu_config(repository: Path) -> None:
    remove("query_tower/configs")(repository)
    problems = validate_repository(repository)
    assert {problem.file for problem in problems} == {GPU_TOWER}
    assert all("configs/cpu.pbtxt" in problem.message for problem in problems)


def test_a_model_needs_a_config_for_the_profile_only(repository: Path) -> None:
    remove(GPU_INDEX)(repository)
    assert validate_repository(repository) == []  # configs/cpu.pbtxt is enough for the CPU
    expect_one(repository, GPU_INDEX, ("missing", "'gpu'"), profile="gpu")


def test_a_named_profile_falls_back_to_the_plain_config(repository: Path) -> None:
    (repository / "product_index/configs/h100.pbtxt").write_text(CONFIGS[GPU_INDEX].replace("[ 64 ]", "[ 128 ]"))
    expect_one(repository, RETRIEVE, ("[ -1, 64 ]", "[ -1, 128 ]"), profile="h100")
    assert validate_repository(repository, profile="gpu") == []


def test_a_newer_server_may_have_newer_fields(repository: Path) -> None:
    breakage, _, _ = TEXT["field newer than the server"]
    breakage(repository)
    assert validate_repository(repository, max_version=(2, 71)) == []
    assert validate_repository(repository, profile="gpu") == []
