"""validate_repository on single models, one fault at a time: tensors, batches, instances and warm-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.validation.sound_repository import (
    INDEX,
    RETRIEVE,
    TOKENIZER,
    TOWER,
    Breakage,
    cases,
    edit,
    expect_one,
    remove,
)

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


@pytest.mark.parametrize(("breakage", "file", "words"), cases(ONE_MODEL))
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
def test_one_fault_of_the_gpu_profile_is_one_problem(
    repository: Path, breakage: Breakage, file: str, words: tuple[str, ...]
) -> None:
    breakage(repository)
    expect_one(repository, file, words, profile="gpu")
