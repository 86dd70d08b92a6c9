"""validate_repository on several models at once, its reports, and a real server's verdict on the same faults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from shopwindow.server import ServerOptions, TritonServer
from shopwindow_export.validation.run import format_json, format_report, validate_repository
from tests.export.live import wait_until_live
from tests.export.validation.sound_repository import (
    INDEX,
    RETRIEVE,
    TOKENIZER,
    edit,
    remove,
    write_repository,
)
from tests.export.validation.test_validate_files import IDENTITY_AND_FILES
from tests.export.validation.test_validate_models import ONE_MODEL
from tests.export.validation.test_validate_wiring import WIRING


def test_an_unreadable_model_gives_one_problem(repository: Path) -> None:
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


def test_a_missing_or_empty_repository_is_one_problem(tmp_path: Path) -> None:
    (missing,) = validate_repository(tmp_path / "nowhere")
    assert "shopwindow export" in missing.message
    (empty,) = validate_repository(tmp_path)
    assert "no model folders" in empty.message


def test_problems_are_reported_as_text_and_as_json(repository: Path) -> None:
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
    reasons = {  # the server's, for faults that concern one model folder
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
        name = f"{model}_{number}"  # beside the sound models, so that this one alone has a fault
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
    server.start()  # without models, so wait_until_ready() does not work
    try:
        client = grpcclient.InferenceServerClient(server.grpc_url)
        wait_until_live(server, client)
        client.load_model("retrieve", headers=server.owner_header, client_timeout=60)
        for name, reason in broken.items():
            with pytest.raises(InferenceServerException) as refusal:
                client.load_model(name, headers=server.owner_header, client_timeout=60)
            # The server reports some faults to the caller, and others only in its log.
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
        ("gpu", "product_tower/1/model.onnx", False),  # the plan replaces it
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
