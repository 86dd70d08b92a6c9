"""validate_repository on small repositories: a sound one, and one fault at a time."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from export.validate import format_json, format_report, validate_repository
from serving import ServerOptions, TritonServer

CONFIGS = {
    "query_tokenizer/config.pbtxt": """
name: "query_tokenizer"
backend: "python"
max_batch_size: 64
input [ { name: "query" data_type: TYPE_STRING dims: [ 1 ] } ]
output [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ 32 ] },
  { name: "attention_mask" data_type: TYPE_INT32 dims: [ 32 ] }
]
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { }
""",
    "query_tower/config.pbtxt": """
name: "query_tower"
platform: "tensorrt_plan"
max_batch_size: 64
input [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ 32 ] },
  { name: "attention_mask" data_type: TYPE_INT32 dims: [ 32 ] }
]
output [ { name: "query_embedding" data_type: TYPE_FP32 dims: [ 64 ] } ]
instance_group [ { count: 1 kind: KIND_GPU } ]
dynamic_batching { preferred_batch_size: [ 16, 64 ] max_queue_delay_microseconds: 200 }
""",
    "query_tower/configs/cpu.pbtxt": """
name: "query_tower"
backend: "python"
max_batch_size: 64
input [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ 32 ] },
  { name: "attention_mask" data_type: TYPE_INT32 dims: [ 32 ] }
]
output [ { name: "query_embedding" data_type: TYPE_FP32 dims: [ 64 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
dynamic_batching { }
model_warmup [ {
  name: "short query"
  batch_size: 1
  inputs { key: "input_ids" value { data_type: TYPE_INT32 dims: [ 32 ] zero_data: true } }
  inputs { key: "attention_mask" value { data_type: TYPE_INT32 dims: [ 32 ] random_data: true } }
} ]
""",
    "product_index/config.pbtxt": """
name: "product_index"
backend: "python"
max_batch_size: 64
input [
  { name: "embedding" data_type: TYPE_FP32 dims: [ 64 ] },
  { name: "boost" data_type: TYPE_FP32 dims: [ 1 ] optional: true }
]
output [
  { name: "product_ids" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "scores" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "generation" data_type: TYPE_INT64 dims: [ 1 ] }
]
instance_group [ { count: 1 kind: KIND_GPU } ]
dynamic_batching { default_queue_policy { timeout_action: REJECT max_queue_size: 1024 } }
""",
    "retrieve/config.pbtxt": """
name: "retrieve"
platform: "ensemble"
max_batch_size: 64
input [ { name: "query" data_type: TYPE_STRING dims: [ 1 ] } ]
output [
  { name: "product_ids" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "scores" data_type: TYPE_FP32 dims: [ -1 ] }
]
ensemble_scheduling {
  step [
    {
      model_name: "query_tokenizer" model_version: -1
      input_map { key: "query" value: "query" }
      output_map { key: "input_ids" value: "token_ids" }
      output_map { key: "attention_mask" value: "token_mask" }
    },
    {
      model_name: "query_tower" model_version: -1
      input_map { key: "input_ids" value: "token_ids" }
      input_map { key: "attention_mask" value: "token_mask" }
      output_map { key: "query_embedding" value: "embedding" }
    },
    {
      model_name: "product_index" model_version: -1
      input_map { key: "embedding" value: "embedding" }
      output_map { key: "product_ids" value: "product_ids" }
      output_map { key: "scores" value: "scores" }
    }
  ]
}
""",
}
CONFIGS["product_index/configs/cpu.pbtxt"] = CONFIGS["product_index/config.pbtxt"].replace("KIND_GPU", "KIND_CPU")
PYTHON_MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([]) for _ in requests]
"""
TOKENIZER, TOWER, INDEX, RETRIEVE = (
    "query_tokenizer/config.pbtxt",
    "query_tower/configs/cpu.pbtxt",
    "product_index/configs/cpu.pbtxt",
    "retrieve/config.pbtxt",
)

Breakage = Callable[[Path], None]


def write_repository(root: Path) -> Path:
    for name, text in CONFIGS.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        (root / name.split("/")[0] / "1").mkdir(exist_ok=True)
    for model in ("query_tokenizer", "query_tower", "product_index"):
        (root / model / "1" / "model.py").write_text(PYTHON_MODEL)
    (root / "query_tower" / "1" / "model.plan").write_bytes(b"plan")
    (root / "notes.json").write_text("{}")  # plain files in the root are none of Triton's business
    return root


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "models")


def edit(file: str, *changes: tuple[str, str]) -> Breakage:
    """Replace pieces of a config, each of which has to be there."""

    def apply(root: Path) -> None:
        text = (root / file).read_text()
        for old, new in changes:
            assert old in text, f"{old!r} is not in {file}"
            text = text.replace(old, new, 1)
        (root / file).write_text(text)

    return apply


def remove(path: str) -> Breakage:
    def apply(root: Path) -> None:
        place = root / path
        shutil.rmtree(place) if place.is_dir() else place.unlink()

    return apply


def both(*breakages: Breakage) -> Breakage:
    def apply(root: Path) -> None:
        for breakage in breakages:
            breakage(root)

    return apply


def expect_one(
    repository: Path,
    file: str,
    words: tuple[str, ...],
    *,
    severity: str = "error",
    profile: str = "cpu",
    model: str | None = None,
) -> None:
    problems = validate_repository(repository, profile=profile)
    assert len(problems) == 1, format_report(problems)
    problem = problems[0]
    assert problem.severity == severity
    assert problem.file == file
    assert problem.model == (model or file.split("/")[0])
    for word in words:
        assert word in problem.message


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


def unbatched_index(input_dims: str, output_dims: str) -> Breakage:
    return edit(
        INDEX,
        ("max_batch_size: 64", "max_batch_size: 0"),
        ("dynamic_batching { default_queue_policy { timeout_action: REJECT max_queue_size: 1024 } }", ""),
        ("dims: [ 64 ]", f"dims: {input_dims}"),
        ("dims: [ -1 ]", f"dims: {output_dims}"),
        ('"scores" data_type: TYPE_FP32 dims: [ -1 ]', f'"scores" data_type: TYPE_FP32 dims: {output_dims}'),
    )


def test_unbatched_step_that_spells_the_batch_axis_out_fits(repository: Path) -> None:
    unbatched_index("[ -1, 64 ]", "[ -1, -1 ]")(repository)
    assert validate_repository(repository) == []


def test_unbatched_step_without_the_batch_axis_is_found(repository: Path) -> None:
    """Triton loads this and answers single queries; a batch of two fails."""
    unbatched_index("[ 64 ]", "[ -1 ]")(repository)
    problems = validate_repository(repository)
    assert [(problem.file, "batch of 1 only" in problem.message) for problem in problems] == [(RETRIEVE, True)] * 3


def test_wildcard_fits_any_size(repository: Path) -> None:
    edit(INDEX, ("dims: [ 64 ]", "dims: [ -1 ]"))(repository)
    assert validate_repository(repository) == []


def test_ensembles_that_call_each_other(repository: Path) -> None:
    # Each is sound by itself: an ensemble of the other one.
    for name, other in (("front", "back"), ("back", "front")):
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(f"""
            platform: "ensemble"
            max_batch_size: 8
            input [ {{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }} ]
            output [ {{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] }} ]
            ensemble_scheduling {{ step [ {{
              model_name: "{other}" model_version: -1
              input_map {{ key: "x" value: "x" }}
              output_map {{ key: "y" value: "y" }}
            }} ] }}
        """)
    problems = validate_repository(repository)
    assert len(problems) == 1
    assert "circle" in problems[0].message


def test_unreadable_model_gives_one_problem_not_one_per_wire(repository: Path) -> None:
    (repository / INDEX).write_text("name: ")
    problems = validate_repository(repository)
    assert [problem.file for problem in problems] == [INDEX]


def test_all_faults_are_reported_at_once(repository: Path) -> None:
    for breakage in (
        edit(INDEX, ("dims: [ 64 ]", "dims: [ 128 ]")),
        edit(RETRIEVE, ('"query_tower" model_version: -1', '"query_tower"')),
        remove("query_tokenizer/1/model.py"),
    ):
        breakage(repository)
    assert {(problem.model, problem.file) for problem in validate_repository(repository)} == {
        ("query_tokenizer", "query_tokenizer/1/model.py"),
        ("retrieve", RETRIEVE),
    }
    assert len(validate_repository(repository)) == 3


def test_no_repository(tmp_path: Path) -> None:
    (missing,) = validate_repository(tmp_path / "nowhere")
    assert "shopwindow export" in missing.message
    (empty,) = validate_repository(tmp_path)
    assert "no model folders" in empty.message


def test_reports(repository: Path) -> None:
    assert format_report([]) == "no problems found"
    edit(INDEX, ("max_batch_size", "max_batch_sise"))(repository)
    edit(TOKENIZER, ("dynamic_batching {", "dynamic_batching { max_queue_delay_microseconds: 2000000"))(repository)
    problems = validate_repository(repository)
    lines = format_report(problems).splitlines()
    assert lines[0].startswith("error: product_index/configs/cpu.pbtxt:4: ")  # errors first, with their line
    assert lines[1].startswith("warning: query_tokenizer/config.pbtxt: ")
    assert lines[2] == "1 errors, 1 warnings"
    report = json.loads(format_json(problems))
    assert report["ok"] is False
    assert report["problems"][0] == {
        "severity": "error",
        "model": "product_index",
        "file": INDEX,
        "message": problems[0].message,
        "line": 4,
    }
    assert json.loads(format_json([problems[1]]))["ok"] is True


def test_triton_refuses_what_is_refused_here(repository: Path, tmp_path: Path) -> None:
    faults = {**IDENTITY_AND_FILES, **ONE_MODEL, **WIRING}
    reasons = {  # of the server, for faults that lie in one model folder
        "preferred above the batch": "dynamic batching preferred size must be <= max batch size",
        "no version folder of an ensemble": "at least one version must be available",
        "version not written": "required version 0 is not loaded",
        "unused tensor": "ensemble tensor 'generation' is unused",
        "other type of an ensemble input": "inconsistent data type",
    }
    broken = {}
    for number, (fault, reason) in enumerate(reasons.items()):
        breakage, file, _ = faults[fault]
        source = write_repository(tmp_path / str(number))
        breakage(source)
        model = file.split("/")[0]
        name = f"{model}_{number}"  # beside the sound models, so that only this one is at fault
        shutil.copytree(source / model, repository / name)
        edit(f"{name}/config.pbtxt", (f'name: "{model}"', f'name: "{name}"'))(repository)
        broken[name] = reason
    assert {problem.model for problem in validate_repository(repository)} == set(broken)

    options = ServerOptions(
        repository=repository,
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        stop_timeout_s=2,
        extra_args=("--model-control-mode=explicit",),
    )
    server = TritonServer(options)
    server.start()  # with no model loaded, so there is nothing that wait_until_ready() could wait for
    try:
        client = grpcclient.InferenceServerClient(server.grpc_url)
        deadline = time.monotonic() + 60
        while not is_live(client):
            assert server.poll() is None and time.monotonic() < deadline, server.log_tail()
            time.sleep(0.05)
        client.load_model("retrieve", client_timeout=60)
        for name, reason in broken.items():
            with pytest.raises(InferenceServerException) as refusal:
                client.load_model(name, client_timeout=60)
            # The server tells the caller of some faults, and only its log of others.
            assert reason in f"{refusal.value}\n{server.log_tail()}"
        assert client.is_model_ready("retrieve")
    finally:
        server.stop()


def is_live(client: grpcclient.InferenceServerClient) -> bool:
    try:
        return bool(client.is_server_live(client_timeout=1))
    except InferenceServerException:
        return False


@pytest.mark.parametrize(
    ("profile", "file", "found"),
    [
        ("cpu", "query_tower/1/model.onnx", True),
        ("cpu", "product_preprocessor/1/tokenizer.json", True),
        ("gpu", "query_tokenizer/1/tokenizer.json", True),
        ("gpu", "product_tower/1/model.onnx", False),  # a plan stands in for it
    ],
)
def test_files_that_python_models_share_are_checked_in_an_exported_repository(
    repository: Path, profile: str, file: str, found: bool
) -> None:
    (repository / "bundle.json").write_text("{}")
    for name in ("query_tower/1/model.onnx", "product_tower/1/model.onnx"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_bytes(b"graph")
    for name in ("query_tokenizer/1/tokenizer.json", "product_preprocessor/1/tokenizer.json"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("{}")
    (repository / file).unlink()
    problems = [problem.file for problem in validate_repository(repository, profile=profile)]
    assert (file in problems) is found
