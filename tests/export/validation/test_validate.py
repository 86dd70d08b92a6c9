"""validate_repository on small repositories: a sound one, and one fault at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopwindow_export.validation.run import validate_repository
from tests.export.repository.sound_repository import (
    CONFIGS,
    INDEX,
    RETRIEVE,
    TOKENIZER,
    TOWER,
    Breakage,
    both,
    edit,
    expect_one,
    remove,
    write_repository,
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "models")


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_sound_repository_has_no_problems(repository: Path, profile: str) -> None:
    assert validate_repository(repository, profile=profile) == []


TEXT = {
    "unknown field": (edit(INDEX, ("max_batch_size", "max_batch_sise")), INDEX, ("max_batch_sise", "'max_batch_size'")),
    "unknown nested field": (
        edit(RETRIEVE, ("input_map {", "inputs_map {")),
        RETRIEVE,
        ("inputs_map", "did you mean 'input_map'"),
    ),
    "unknown data type": (edit(INDEX, ("TYPE_INT64", "TYPE_INT46")), INDEX, ("TYPE_INT46", "'TYPE_INT64'")),
    "unclosed bracket": (edit(INDEX, ("dims: [ 64 ]", "dims: [ 64 ")), INDEX, ("does not parse",)),
    "scalar given twice": (
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
    "no version folder of an ensemble": (remove("retrieve/1"), RETRIEVE, ("no version folder", "even of an ensemble")),
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
    "stray folder": (lambda root: (root / "notes").mkdir(), "notes", ("no config.pbtxt", "move it out")),
}

ONE_MODEL = {
    "input twice": (
        edit(
            INDEX, ("output [", 'input [ { name: "boost" data_type: TYPE_FP32 dims: [ 1 ] optional: true } ]\noutput [')
        ),
        INDEX,
        ("'boost'", "2 times"),
    ),
    "no data type": (
        edit(INDEX, ('"generation" data_type: TYPE_INT64', '"generation"')),
        INDEX,
        ("'generation'", "data_type is missing"),
    ),
    "dim 0": (edit(INDEX, ("dims: [ 64 ]", "dims: [ 0 ]")), INDEX, ("'embedding'", "1 or more", "[ 0 ]")),
    "dim -2": (edit(INDEX, ("dims: [ 64 ]", "dims: [ -2 ]")), INDEX, ("'embedding'", "[ -2 ]")),
    "no dims": (edit(INDEX, ("dims: [ 64 ]", "")), INDEX, ("'embedding'", "dims are missing")),
    "negative batch": (edit(INDEX, ("max_batch_size: 64", "max_batch_size: -1")), INDEX, ("max_batch_size", "-1")),
    "preferred above the batch": (
        edit(TOKENIZER, ("dynamic_batching {", "dynamic_batching { preferred_batch_size: [ 32, 128 ]")),
        TOKENIZER,
        ("preferred_batch_size", "64", "128"),
    ),
    "priority without default": (
        edit(TOKENIZER, ("dynamic_batching {", "dynamic_batching { priority_levels: 2")),
        TOKENIZER,
        ("default_priority_level", "1 to priority_levels 2", "got 0"),
    ),
    "delayed and in order": (
        edit(
            INDEX,
            ("timeout_action: REJECT", "timeout_action: DELAY default_timeout_microseconds: 500"),
            ("dynamic_batching {", "dynamic_batching { preserve_ordering: true"),
        ),
        INDEX,
        ("default_queue_policy", "DELAY", "preserve_ordering"),
    ),
    "count 0": (edit(INDEX, ("count: 1", "count: 0")), INDEX, ("instance_group.count", "got 0")),
    "GPU on the CPU profile": (edit(INDEX, ("KIND_CPU", "KIND_GPU")), INDEX, ("KIND_GPU", "configs/cpu.pbtxt")),
    "CPU group that names GPUs": (
        edit(INDEX, ("kind: KIND_CPU", "kind: KIND_CPU gpus: [ 0 ]")),
        INDEX,
        ("KIND_CPU", "[ 0 ]"),
    ),
    "warm-up of an unknown input": (
        edit(TOWER, ('key: "input_ids"', 'key: "ids"'), ("dims: [ 32 ] }", "dims: [ 32 ] optional: true }")),
        TOWER,
        ("'short query'", "'ids'", "input_ids"),
    ),
    "warm-up leaves an input out": (
        edit(TOWER, ('inputs { key: "input_ids" value { data_type: TYPE_INT32 dims: [ 32 ] zero_data: true } }', "")),
        TOWER,
        ("'input_ids' is missing",),
    ),
    "warm-up type": (
        edit(TOWER, ("value { data_type: TYPE_INT32", "value { data_type: TYPE_INT64")),
        TOWER,
        ("must be TYPE_INT32", "got TYPE_INT64"),
    ),
    "warm-up dims": (
        edit(TOWER, ("value { data_type: TYPE_INT32 dims: [ 32 ]", "value { data_type: TYPE_INT32 dims: [ 1, 32 ]")),
        TOWER,
        ("[ 32 ]", "[ 1, 32 ]"),
    ),
    "warm-up of any size": (
        edit(TOWER, ("value { data_type: TYPE_INT32 dims: [ 32 ]", "value { data_type: TYPE_INT32 dims: [ -1 ]")),
        TOWER,
        ("needs a size", "[ -1 ]"),
    ),
    "warm-up without data": (edit(TOWER, ("zero_data: true", "")), TOWER, ("'input_ids' has no data",)),
    "warm-up file": (
        edit(TOWER, ("zero_data: true", 'input_data_file: "ids"')),
        TOWER,
        ("query_tower/warmup/ids", "missing"),
    ),
    "warm-up batch": (edit(TOWER, ("batch_size: 1\n", "batch_size: 65\n")), TOWER, ("64", "65")),
    "cached answers": (
        edit(RETRIEVE, ("ensemble_scheduling {", "response_cache { enable: true }\nensemble_scheduling {")),
        RETRIEVE,
        ("response_cache", "parameters"),
    ),
}

WIRING = {
    "no such model": (
        edit(RETRIEVE, ('model_name: "product_index"', 'model_name: "products_index"')),
        RETRIEVE,
        ("'products_index'", "did you mean 'product_index'"),
    ),
    "version not written": (
        edit(RETRIEVE, ('"product_index" model_version: -1', '"product_index"')),
        RETRIEVE,
        ("'product_index'", "model_version", "write -1"),
    ),
    "version not served": (
        edit(RETRIEVE, ('"product_index" model_version: -1', '"product_index" model_version: 7')),
        RETRIEVE,
        ("model_version", "(1)", "7"),
    ),
    "misspelt input": (
        edit(RETRIEVE, ('input_map { key: "embedding"', 'input_map { key: "embeding"')),
        RETRIEVE,
        ("'embeding'", "did you mean 'embedding'"),
    ),
    "input not mapped": (
        edit(
            RETRIEVE,
            ('input_map { key: "attention_mask" value: "token_mask" }', ""),
            ('output_map { key: "attention_mask" value: "token_mask" }', ""),
        ),
        RETRIEVE,
        ("'query_tower'", "'attention_mask' is not mapped"),
    ),
    "misspelt output": (
        edit(RETRIEVE, ('output_map { key: "scores"', 'output_map { key: "score"')),
        RETRIEVE,
        ("'score'", "did you mean 'scores'"),
    ),
    "dangling tensor": (
        edit(
            RETRIEVE,
            ('input_map { key: "embedding" value: "embedding"', 'input_map { key: "embedding" value: "embeding"'),
        ),
        RETRIEVE,
        ("'embeding'", "comes from nowhere", "did you mean 'embedding'"),
    ),
    "output that nobody makes": (
        edit(RETRIEVE, ('output_map { key: "scores" value: "scores" }', "")),
        RETRIEVE,
        ("'scores'", "the ensemble's output", "comes from nowhere"),
    ),
    "tensor made twice": (
        edit(RETRIEVE, ('value: "scores" }', 'value: "scores" }\noutput_map { key: "generation" value: "scores" }')),
        RETRIEVE,
        ("'scores'", "one place only"),
    ),
    "unused tensor": (
        edit(
            RETRIEVE, ('value: "scores" }', 'value: "scores" }\noutput_map { key: "generation" value: "generation" }')
        ),
        RETRIEVE,
        ("'generation'", "used by nothing"),
    ),
    "unused input of the ensemble": (
        edit(RETRIEVE, ("output [", 'input [ { name: "locale" data_type: TYPE_STRING dims: [ 1 ] } ]\noutput [')),
        RETRIEVE,
        ("'locale'", "used by nothing"),
    ),
    "circle of tensors": (
        both(
            edit(TOKENIZER, ("output [", 'input [ { name: "hint" data_type: TYPE_FP32 dims: [ -1 ] } ]\noutput [')),
            edit(
                RETRIEVE,
                (
                    'input_map { key: "query" value: "query" }',
                    'input_map { key: "query" value: "query" }\ninput_map { key: "hint" value: "scores" }',
                ),
            ),
        ),
        RETRIEVE,
        ("circle", "scores", "embedding"),
    ),
    "other type": (
        edit(INDEX, ('"embedding" data_type: TYPE_FP32', '"embedding" data_type: TYPE_FP16')),
        RETRIEVE,
        ("'embedding'", "'query_tower' gives TYPE_FP32", "'product_index' takes TYPE_FP16"),
    ),
    "other size": (
        edit(INDEX, ("dims: [ 64 ]", "dims: [ 128 ]")),
        RETRIEVE,
        ("'embedding'", "[ -1, 64 ]", "[ -1, 128 ]"),
    ),
    "other rank": (edit(INDEX, ("dims: [ 64 ]", "dims: [ 64, 1 ]")), RETRIEVE, ("[ -1, 64 ]", "[ -1, 64, 1 ]")),
    "other type of an ensemble input": (
        edit(RETRIEVE, ("TYPE_STRING", "TYPE_INT32")),
        RETRIEVE,
        ("the ensemble's input gives TYPE_INT32", "TYPE_STRING"),
    ),
    "larger batch than a step": (
        edit(INDEX, ("max_batch_size: 64", "max_batch_size: 32")),
        RETRIEVE,
        ("max_batch_size", "32", "64", "'product_index'"),
    ),
    "instances of an ensemble": (
        edit(RETRIEVE, ("ensemble_scheduling {", "instance_group [ { count: 2 } ]\nensemble_scheduling {")),
        RETRIEVE,
        ("instance_group",),
    ),
    "no steps": (
        lambda root: (root / RETRIEVE).write_text('name: "retrieve"\nplatform: "ensemble"\nensemble_scheduling { }'),
        RETRIEVE,
        ("at least one step",),
    ),
}


@pytest.mark.parametrize(
    ("breakage", "file", "words"),
    [pytest.param(*case, id=name) for name, case in {**TEXT, **IDENTITY_AND_FILES, **ONE_MODEL, **WIRING}.items()],
)
def test_one_fault_is_one_problem(repository: Path, breakage: Breakage, file: str, words: tuple[str, ...]) -> None:
    breakage(repository)
    expect_one(repository, file, words)


@pytest.mark.parametrize(
    ("breakage", "file", "words"),
    [
        pytest.param(
            edit(TOKENIZER, ("dynamic_batching {", "dynamic_batching { max_queue_delay_microseconds: 2000000")),
            TOKENIZER,
            ("2000000", "2 s"),
            id="long queue delay",
        ),
        pytest.param(
            edit(
                INDEX,
                ("REJECT", "REJECT default_timeout_microseconds: 100"),
                ("dynamic_batching {", "dynamic_batching { max_queue_delay_microseconds: 500"),
            ),
            INDEX,
            ("default_timeout_microseconds", "100", "500"),
            id="timeout within the delay",
        ),
        pytest.param(
            edit(INDEX, ("max_batch_size", "version_policy { specific { versions: [ 1, 3 ] } }\nmax_batch_size")),
            INDEX,
            ("version 3",),
            id="policy names a version that is not there",
        ),
        pytest.param(
            edit(INDEX, ("dynamic_batching", "model_transaction_policy { decoupled: true }\ndynamic_batching")),
            RETRIEVE,
            ("'product_index'", "decoupled"),
            id="decoupled step",
        ),
        pytest.param(
            edit(INDEX, ('backend: "python"', 'backend: "pyton"')), INDEX, ("'pyton'", "python"), id="unusual backend"
        ),
    ],
)
def test_dubious_settings_are_warnings(repository: Path, breakage: Breakage, file: str, words: tuple[str, ...]) -> None:
    breakage(repository)
    expect_one(repository, file, words, severity="warning")


GPU_TOWER, GPU_INDEX = "query_tower/config.pbtxt", "product_index/config.pbtxt"


@pytest.mark.parametrize(
    ("breakage", "file", "words"),
    [
        pytest.param(remove("query_tower/1/model.plan"), "query_tower/1/model.plan", ("missing",), id="no plan"),
        pytest.param(
            edit(
                GPU_TOWER,
                ("max_batch_size", 'cc_model_filenames { key: "9.0" value: "hopper.plan" }\nmax_batch_size'),
            ),
            "query_tower/1/hopper.plan",
            ("missing", "cc_model_filenames['9.0']"),
            id="no plan for a compute capability",
        ),
        pytest.param(edit(GPU_INDEX, ("count: 1", "count: 2")), GPU_INDEX, ("exactly 1", "got 2"), id="two indexes"),
        pytest.param(
            edit(GPU_INDEX, ("[ { count: 1 kind: KIND_GPU } ]", "[ { gpus: [ 0, 1 ] }, { gpus: [ 1 ] } ]")),
            GPU_INDEX,
            ("exactly 1", "got 2 on one GPU"),
            id="two indexes on one GPU of two",
        ),
    ],
)
def test_gpu_profile(repository: Path, breakage: Breakage, file: str, words: tuple[str, ...]) -> None:
    breakage(repository)
    expect_one(repository, file, words, profile="gpu")


def test_cpu_profile_without_its_own_config_is_told_to_write_one(repository: Path) -> None:
    remove("query_tower/configs")(repository)
    problems = validate_repository(repository)
    assert {problem.file for problem in problems} == {GPU_TOWER}
    assert all("configs/cpu.pbtxt" in problem.message for problem in problems)


def test_model_without_a_config_for_the_profile(repository: Path) -> None:
    remove(GPU_INDEX)(repository)
    assert validate_repository(repository) == []  # configs/cpu.pbtxt is enough for the CPU
    expect_one(repository, GPU_INDEX, ("missing", "'gpu'"), profile="gpu")


def test_named_profile_falls_back_to_the_plain_config(repository: Path) -> None:
    (repository / "product_index/configs/h100.pbtxt").write_text(CONFIGS[GPU_INDEX].replace("[ 64 ]", "[ 128 ]"))
    expect_one(repository, RETRIEVE, ("[ -1, 64 ]", "[ -1, 128 ]"), profile="h100")
    assert validate_repository(repository, profile="gpu") == []


def test_newer_server_knows_newer_fields(repository: Path) -> None:
    breakage, _, _ = TEXT["field newer than the server"]
    breakage(repository)
    assert validate_repository(repository, max_version=(2, 71)) == []
    assert validate_repository(repository, profile="gpu") == []
