"""A small sound repository, and ways to break it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shopwindow_export.plans import PlanKey, Server, read_profile
from shopwindow_export.plans.manifest import write_plan
from shopwindow_export.plans.profile import read_config
from shopwindow_export.validation.run import format_report, validate_repository

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
dynamic_batching { default_queue_policy { timeout_action: REJECT } }
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

# The key of the query tower's plan.
KEY = PlanKey(
    onnx_sha256="0123456789abcdef" * 4,
    module="tensorrt",
    version="11.1.0.106",
    compute_capability="9.0",
    profile={},
    precision="fp16",
)


def write_repository(root: Path) -> Path:
    for name, text in CONFIGS.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        (root / name.split("/")[0] / "1").mkdir(exist_ok=True)
    for model in ("query_tokenizer", "query_tower", "product_index"):
        (root / model / "1" / "model.py").write_text(PYTHON_MODEL)
    plan = root / "query_tower" / "1" / "model.plan"
    write_plan(plan, b"plan", replace(KEY, profile=read_profile(read_config(root / "query_tower" / "config.pbtxt"))))
    (root / "notes.json").write_text("{}")  # Triton ignores plain files in the root
    return root


def edit(file: str, *changes: tuple[str, str]) -> Breakage:
    """Replace pieces of a config. Each piece must be there."""

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


def cases(faults: dict[str, tuple[Breakage, str, tuple[str, ...]]]) -> list[Any]:
    """Return faults as parameters of a test."""
    return [pytest.param(*case, id=name) for name, case in faults.items()]


def expect_one(
    repository: Path,
    file: str,
    words: tuple[str, ...],
    *,
    severity: str = "error",
    profile: str = "cpu",
    model: str | None = None,
    server: Server | None = None,
) -> None:
    """Check that a repository has one problem, in this file and with these words in its message."""
    problems = validate_repository(repository, profile=profile, server=server)
    assert len(problems) == 1, format_report(problems)
    problem = problems[0]
    assert problem.severity == severity
    assert problem.file == file
    assert problem.model == (model or file.split("/")[0])
    for word in words:
        assert word in problem.message
