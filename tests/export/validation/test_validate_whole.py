"""validate_repository over several models at once, its reports, and the real server's word on the same faults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from shopwindow.server import ServerOptions, TritonServer
from shopwindow_export.validation.run import format_json, format_report, validate_repository
from tests.export.repository.sound_repository import (
    INDEX,
    RETRIEVE,
    TOKENIZER,
    Breakage,
    edit,
    remove,
    write_repository,
)
from tests.export.validation.test_validate import IDENTITY_AND_FILES, ONE_MODEL, WIRING
from tests.indexing.live import wait_until_live


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "models")


def unbatched_index(input_dims: str, output_dims: str) -> Breakage:
    return edit(
        INDEX,
        ("max_batch_size: 64", "max_batch_size: 0"),
        ("dynamic_batching { default_queue_policy { timeout_action: REJECT } }", ""),
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
        wait_until_live(server, client)
        client.load_model("retrieve", client_timeout=60)
        for name, reason in broken.items():
            with pytest.raises(InferenceServerException) as refusal:
                client.load_model(name, client_timeout=60)
            # The server tells the caller of some faults, and only its log of others.
            assert reason in f"{refusal.value}\n{server.log_tail()}"
        assert client.is_model_ready("retrieve")
    finally:
        server.stop()


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
