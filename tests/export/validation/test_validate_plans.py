"""validate_repository on TensorRT plans and graphs: plans built for another graph, shape, server or GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from shopwindow_export.plans import PlanManifest, Server
from shopwindow_export.plans.manifest import manifest_file, sha256, write_plan
from shopwindow_export.validation.run import validate_repository
from tests.export.validation.sound_repository import Breakage, both, edit, expect_one, remove

ROOT = Path(__file__).parents[3]
CONFIG = "query_tower/config.pbtxt"
PLAN = "query_tower/1/model.plan"
GRAPH = "query_tower/1/model.onnx"
SERVER = Server(tensorrt="11.1", capabilities=("9.0",))


def rewrite(**changes: object) -> Breakage:
    """Change the key in the plan's manifest."""

    def apply(root: Path) -> None:
        manifest = PlanManifest.read(root / PLAN)
        changed = replace(manifest, key=replace(manifest.key, **changes))  # type: ignore[arg-type]
        manifest_file(root / PLAN).write_text(changed.to_json())

    return apply


def graph(elem_type: int = TensorProto.INT32, tokens: object = "tokens", output: str = "query_embedding") -> Breakage:
    """Write a graph like the query tower's, and note in the manifest that the plan was built from it."""

    def apply(root: Path) -> None:
        text = ["batch", tokens]
        nodes = [
            helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["numbers", "mask"], [output]),
        ]
        made = helper.make_graph(
            nodes,
            "tower",
            [helper.make_tensor_value_info(name, elem_type, text) for name in ("input_ids", "attention_mask")],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 64])],
        )
        onnx.save(helper.make_model(made), root / GRAPH)
        rewrite(onnx_sha256=sha256(root / GRAPH))(root)

    return apply


@pytest.mark.parametrize(
    "server",
    [
        Server(),
        SERVER,
        Server(tensorrt="11.1.0.106"),
        Server(tensorrt="11"),
        Server(capabilities=("9.0",)),
    ],
)
def test_a_plan_that_fits_its_server_has_no_problems(repository: Path, server: Server) -> None:
    graph()(repository)
    assert validate_repository(repository, profile="gpu", server=server) == []


FAULTS: dict[str, tuple[Breakage, tuple[str, ...]]] = {
    "no manifest": (remove(f"{PLAN}.json"), ("no model.plan.json", "what it was built for", "'shopwindow plans'")),
    "a manifest of something else": (
        lambda root: manifest_file(root / PLAN).write_text("[]"),
        ("not a plan's manifest",),
    ),
    "a manifest of another plan": (lambda root: (root / PLAN).write_bytes(b"nalp"), ("of another plan",)),
    "another graph": (
        both(graph(), rewrite(onnx_sha256="f" * 64)),
        ("another graph (sha256 ffffffffffff...)", "model.onnx"),
    ),
    "TensorRT for RTX": (
        rewrite(module="tensorrt_rtx", version="1.7.1.116"),
        ("built by tensorrt_rtx 1.7.1.116", "Triton does not load"),
    ),
    "another TensorRT": (rewrite(version="10.13.3.9"), ("built by TensorRT 10.13.3.9", "server has 11.1")),
    # 11.10 is not 11.1
    "another TensorRT that begins alike": (rewrite(version="11.10.0.1"), ("TensorRT 11.10.0.1", "11.1")),
    "another GPU": (rewrite(compute_capability="8.9"), ("compute capability 8.9", "to run on 9.0")),
    "smaller batches": (
        edit(CONFIG, ("max_batch_size: 64", "max_batch_size: 128")),
        ("'input_ids'", "to [64, 32]", "to [128, 32]"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plan_that_does_not_fit_is_refused(repository: Path, fault: str) -> None:
    breakage, words = FAULTS[fault]
    breakage(repository)
    problems = [
        problem
        for problem in validate_repository(repository, profile="gpu", server=SERVER)
        if "'attention_mask'" not in problem.message
    ]
    (problem,) = problems
    assert (problem.severity, problem.model, problem.file) == ("error", "query_tower", PLAN)
    assert all(word in problem.message for word in (*words, "build it with 'shopwindow plans'")), problem.message


def test_the_cpu_profile_ignores_plans(repository: Path) -> None:
    remove(f"{PLAN}.json")(repository)
    assert validate_repository(repository, server=SERVER) == []


def two_kinds(root: Path) -> None:
    """Give the tower a plan for 9.0 and one for 8.9."""
    names = 'cc_model_filenames [ { key: "9.0" value: "hopper.plan" }, { key: "8.9" value: "ada.plan" } ]'
    edit(CONFIG, ("max_batch_size", f"{names}\nmax_batch_size"))(root)
    key = PlanManifest.read(root / PLAN).key
    for name, capability in (("hopper.plan", "9.0"), ("ada.plan", "8.9")):
        write_plan(root / "query_tower" / "1" / name, b"plan", replace(key, compute_capability=capability))
    remove(PLAN)(root)


def test_each_kind_of_gpu_needs_a_plan(repository: Path) -> None:
    two_kinds(repository)
    both_kinds = Server(capabilities=("9.0", "8.9"))
    assert validate_repository(repository, profile="gpu", server=both_kinds) == []
    words = ("no plan for the server's compute capability 8.6", "8.9, 9.0")
    expect_one(repository, CONFIG, words, profile="gpu", server=Server(capabilities=("9.0", "8.6")))


def test_a_plan_under_the_name_of_another_kind_of_gpu_is_refused(repository: Path) -> None:
    two_kinds(repository)
    folder = repository / "query_tower" / "1"
    write_plan(folder / "ada.plan", b"plan", PlanManifest.read(folder / "hopper.plan").key)
    words = ("compute capability 9.0", "to run on 8.9")
    expect_one(repository, "query_tower/1/ada.plan", words, profile="gpu")


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (graph(elem_type=TensorProto.INT64), ("data_type must be TYPE_INT64", "got TYPE_INT32")),
        (graph(tokens=48), ("dims must fit the graph's [ -1, 48 ]", "got [ -1, 32 ]")),
        (graph(output="embedding"), ("output 'query_embedding'", "none of the graph's (embedding)")),
        (
            both(graph(), edit(CONFIG, ('"attention_mask"', '"mask"'))),
            ("'attention_mask': the graph needs it", "'mask': is none of the graph's (input_ids, attention_mask)"),
        ),
    ],
    ids=["type", "length", "output name", "input name"],
)
def test_a_config_that_does_not_fit_the_graph_is_refused(
    repository: Path, breakage: Breakage, words: tuple[str, ...]
) -> None:
    breakage(repository)
    found = [p.message for p in validate_repository(repository, profile="gpu") if p.file == CONFIG]
    assert found
    assert all(any(word in message for message in found) for word in words), found


def test_a_file_that_is_not_a_graph_is_refused(repository: Path) -> None:
    graph()(repository)
    (repository / GRAPH).write_bytes(b"\xff\xff\xff")
    rewrite(onnx_sha256=sha256(repository / GRAPH))(repository)
    expect_one(repository, GRAPH, ("not an ONNX graph",), profile="gpu")


def edit_tower(addition: str) -> Breakage:
    return edit(CONFIG, ("max_batch_size", f"{addition}\nmax_batch_size"))


def test_a_cuda_graph_for_a_batch_above_the_limit_is_refused(repository: Path) -> None:
    graphs = "optimization { cuda { graphs: true graph_spec [ { batch_size: 64 }, { batch_size: 65 } ] } }"
    edit_tower(graphs)(repository)
    expect_one(repository, CONFIG, ("graph_spec", "1 to max_batch_size 64", "got 65"), profile="gpu")


@pytest.mark.parametrize("bound", ["max_queue_size: 8", "allow_timeout_override: true"])
def test_queue_limits_on_a_server_that_is_too_old_are_warned_of(repository: Path, bound: str) -> None:
    edit("product_index/configs/cpu.pbtxt", ("REJECT", f"REJECT {bound}"))(repository)
    words = ("half a second under Triton 2.51", "before 2.67")
    expect_one(repository, "product_index/configs/cpu.pbtxt", words, severity="warning")
    assert validate_repository(repository, max_version=(2, 71)) == []


# The command.


def validate(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shopwindow.cli.main", "validate", str(repository), "--profile", "gpu", *arguments]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # so that the GPU of a machine does not matter
    return subprocess.run(command, cwd=ROOT, env=hidden, capture_output=True, text=True, timeout=120)


def test_the_command_names_the_plan_s_version_and_the_server_s(repository: Path) -> None:
    fits = validate(repository, "--tensorrt", "11.1", "--compute-capability", "9.0", "--triton", "2.71")
    assert (fits.returncode, fits.stdout, fits.stderr) == (0, "no problems found\n", "")
    other = validate(repository, "--tensorrt", "10.9", "--compute-capability", "8.9", "--json")
    assert other.returncode == 1
    version, gpu = (problem["message"] for problem in json.loads(other.stdout)["problems"])
    assert "built by TensorRT 11.1.0.106 and the server has 10.9" in version
    assert "compute capability 9.0, and it is to run on 8.9" in gpu


def test_the_command_says_what_it_did_not_compare(repository: Path) -> None:
    done = validate(repository, "--tensorrt", "11.1")
    assert done.returncode == 0, done.stdout
    assert done.stderr == (
        "plans are not checked against the server's compute capability, which is not known here: "
        "give --compute-capability\n"
    )
