"""Rendering: every profile of every model, without placeholders, and with the templates unchanged."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow_export.plans.batch_sizes import typical_batches
from shopwindow_export.repository import rendering as render
from shopwindow_export.repository.rendering import ENSEMBLES, MODELS, GpuOptions, render_models, serving_triton

BUNDLE = Bundle(tower_hash="c0ffee" * 10, embedding_dim=96, query_max_tokens=21, title_max_tokens=43, image_size=72)
ENSEMBLE_NAMES = {"retrieve", "retrieve_similar", "embed_query", "embed_product"}
STEPS = {"query_tokenizer", "query_tower", "product_preprocessor", "product_tower", "product_index"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    render_models(folder, BUNDLE, cpu_instances=3, gpu=GpuOptions(triton=(2, 51)))
    return folder


def config(folder: Path, model: str, profile: str | None = None) -> ModelConfig:
    """Return a model's config under a profile, as Triton picks it: the profile's file, else config.pbtxt."""
    file = folder / model / "configs" / f"{profile}.pbtxt"
    if profile is None or not file.exists():
        file = folder / model / "config.pbtxt"
    return text_format.Parse(file.read_text(), ModelConfig())


def digest(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_every_model_has_a_config_and_a_version_folder(rendered: Path) -> None:
    assert {folder.name for folder in rendered.iterdir()} == STEPS | ENSEMBLE_NAMES
    assert all((rendered / model / "1").is_dir() for model in STEPS | ENSEMBLE_NAMES)
    assert all((rendered / model / "config.pbtxt").is_file() for model in STEPS | ENSEMBLE_NAMES)


def test_no_placeholder_is_left(rendered: Path) -> None:
    for file in rendered.rglob("*"):
        if file.is_file():
            assert not re.search(r"\$\{|\$[a-z]", file.read_text()), file


def test_the_configs_have_the_values_of_the_checkpoint(rendered: Path) -> None:
    tower = config(rendered, "query_tower")
    assert [list(tensor.dims) for tensor in (*tower.input, *tower.output)] == [[21], [21], [96]]
    product = config(rendered, "product_tower")
    assert [list(tensor.dims) for tensor in product.input] == [[43], [43], [72, 72, 3], [2]]
    for model in ("retrieve", "retrieve_similar", "product_index"):
        parameters = {name: value.string_value for name, value in config(rendered, model).parameters.items()}
        assert parameters["embedding_dim"] == "96"
        assert parameters["tower_hash"] == BUNDLE.tower_hash
        assert (parameters["default_top_k"], parameters["max_top_k"]) == ("100", "10000")


@pytest.mark.parametrize("model", sorted(STEPS | ENSEMBLE_NAMES))
def test_every_profile_of_a_model_keeps_its_name_inputs_and_outputs(rendered: Path, model: str) -> None:
    for profile in ("cpu", "cpu-ensemble", "onnxruntime"):
        assert_same_contract(rendered, model, profile)


def assert_same_contract(rendered: Path, model: str, profile: str) -> None:
    found, gpu = config(rendered, model, profile), config(rendered, model)
    assert found.name == model
    assert [tensor.name for tensor in found.input] == [tensor.name for tensor in gpu.input]
    assert [tensor.data_type for tensor in found.input] == [tensor.data_type for tensor in gpu.input]
    # Where towers can change with the index, a model also returns which towers made its embeddings.
    more = ["towers"] if profile == "cpu" and model in ("embed_query", "embed_product") else []
    assert [tensor.name for tensor in found.output] == [*(tensor.name for tensor in gpu.output), *more]
    if profile in ("cpu", "cpu-ensemble"):
        assert found.backend == "python" or found.platform == "ensemble"
        assert all(group.kind != group.KIND_GPU for group in found.instance_group)
    if found.backend == "python":
        assert (rendered / model / "1" / "model.py").is_file()


def test_pipelines_are_fused_under_cpu_and_ensembles_otherwise(rendered: Path) -> None:
    for model in sorted(ENSEMBLE_NAMES):
        assert config(rendered, model, "cpu").backend == "python"
        assert config(rendered, model, "cpu-ensemble").platform == "ensemble"
        assert config(rendered, model).platform == "ensemble"
    assert sum(group.count for group in config(rendered, "retrieve", "cpu").instance_group) == 3


def test_towers_follow_the_index_only_where_they_change_with_it(rendered: Path) -> None:
    for profile in (None, "cpu", "cpu-ensemble", "onnxruntime"):
        assert ("follow_towers" in config(rendered, "product_index", profile).parameters) == (profile == "cpu")


@pytest.mark.parametrize("profile", [None, "cpu-ensemble", "onnxruntime"])
def test_the_steps_of_an_ensemble_fit_together(rendered: Path, profile: str | None) -> None:
    for model in sorted(ENSEMBLE_NAMES):
        ensemble = config(rendered, model, profile)
        made = {tensor.name for tensor in ensemble.input}
        for step in ensemble.ensemble_scheduling.step:
            inner = config(rendered, step.model_name, profile)
            assert set(step.input_map) <= {tensor.name for tensor in inner.input}
            assert set(step.input_map) >= {tensor.name for tensor in inner.input if not tensor.optional}
            assert set(step.output_map) <= {tensor.name for tensor in inner.output}
            assert set(step.input_map.values()) <= made
            made |= set(step.output_map.values())
        assert {tensor.name for tensor in ensemble.output} <= made


def test_code_is_copied_as_it_is(rendered: Path) -> None:
    sources = sorted(MODELS.rglob("*.py"))
    assert sources
    for source in sources:
        assert (rendered / source.relative_to(MODELS)).read_bytes() == source.read_bytes()


def test_rendering_does_not_change_the_templates(tmp_path: Path) -> None:
    before = digest(MODELS), digest(ENSEMBLES)
    render_models(tmp_path, BUNDLE, cpu_instances=1)
    assert (digest(MODELS), digest(ENSEMBLES)) == before


def test_an_unknown_placeholder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MODELS, tmp_path / "models")
    with (tmp_path / "models" / "query_tower" / "config.pbtxt").open("a") as file:
        file.write("# ${colour_of_the_rack}\n")
    monkeypatch.setattr(render, "MODELS", tmp_path / "models")
    with pytest.raises(KeyError, match="colour_of_the_rack"):
        render_models(tmp_path / "out", BUNDLE, cpu_instances=1)


# The GPU profiles.

TOWERS = ("query_tower", "product_tower")


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize(("profile", "platform"), [(None, "tensorrt_plan"), ("onnxruntime", "onnxruntime_onnx")])
def test_tensors_of_a_tower_have_a_fixed_shape(rendered: Path, tower: str, profile: str | None, platform: str) -> None:
    found = config(rendered, tower, profile)
    assert found.platform == platform
    assert all(size > 0 for tensor in (*found.input, *found.output) for size in tensor.dims)
    assert found.HasField("dynamic_batching")


def test_towers_run_on_gpus_and_the_index_once_on_each(rendered: Path) -> None:
    groups = {model: list(config(rendered, model).instance_group) for model in (*TOWERS, "product_index")}
    assert {model: [group.count for group in each] for model, each in groups.items()} == {
        model: [1] for model in groups
    }
    assert all(groups[tower][0].kind == groups[tower][0].KIND_GPU for tower in TOWERS)
    assert groups["product_index"][0].kind == groups["product_index"][0].KIND_AUTO


def test_gpus_that_share_one_index_get_one_instance_on_the_first(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPWINDOW_GPUS", "2,0")
    render_models(tmp_path, BUNDLE, cpu_instances=3, gpu=GpuOptions(triton=(2, 51)))
    [group] = config(tmp_path, "product_index").instance_group
    assert (group.count, group.kind, list(group.gpus)) == (1, group.KIND_GPU, [2])
    for model in (*TOWERS, "query_tokenizer"):  # the others stay as they are
        assert config(tmp_path, model) == config(rendered, model)
    monkeypatch.setenv("SHOPWINDOW_GPUS", "")
    assert GpuOptions().index_gpus == ()


@pytest.mark.parametrize("tower", TOWERS)
def test_a_tower_warms_up_at_typical_batches(rendered: Path, tower: str) -> None:
    found = config(rendered, tower)
    assert tuple(sample.batch_size for sample in found.model_warmup) == typical_batches(found.max_batch_size)
    shapes = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in found.input}
    for sample in found.model_warmup:
        assert {name: (each.data_type, list(each.dims)) for name, each in sample.inputs.items()} == shapes
        # random ids could lie outside the vocabulary
        assert all(each.zero_data for each in sample.inputs.values())


@pytest.mark.parametrize("triton", [(2, 51), (2, 66), (2, 67), (2, 71)])
def test_queues_are_limited_only_if_the_server_handles_that(tmp_path: Path, triton: tuple[int, int]) -> None:
    render_models(tmp_path, BUNDLE, cpu_instances=1, gpu=GpuOptions(triton=triton))
    for step in sorted(STEPS):
        found = config(tmp_path, step)
        policy = found.dynamic_batching.default_queue_policy
        bounded = triton >= (2, 67)
        assert found.dynamic_batching.HasField("default_queue_policy") is bounded
        assert policy.timeout_action == policy.REJECT
        assert policy.max_queue_size == (16 * found.max_batch_size if bounded else 0)
        assert policy.allow_timeout_override is bounded
        assert not config(tmp_path, step, "cpu").dynamic_batching.HasField("default_queue_policy")


@pytest.mark.parametrize("tower", TOWERS)
def test_cuda_graphs_and_a_plan_for_each_kind_of_gpu_are_options(rendered: Path, tmp_path: Path, tower: str) -> None:
    assert not config(rendered, tower).HasField("optimization")
    assert not config(rendered, tower).cc_model_filenames
    gpu = GpuOptions(capabilities=("9.0", "12.0"), cuda_graphs=True)
    render_models(tmp_path, BUNDLE, cpu_instances=1, gpu=gpu)
    found = config(tmp_path, tower)
    graphs = found.optimization.cuda
    assert graphs.graphs
    assert tuple(spec.batch_size for spec in graphs.graph_spec) == typical_batches(found.max_batch_size)
    assert dict(found.cc_model_filenames) == {"9.0": "9.0.model.plan", "12.0": "12.0.model.plan"}


def test_requests_in_flight_are_limited_only_if_the_server_can(rendered: Path, tmp_path: Path) -> None:
    gpu = GpuOptions(triton=(2, 71), max_inflight_requests=256)
    render_models(tmp_path, BUNDLE, cpu_instances=3, gpu=gpu)
    for model in sorted(ENSEMBLE_NAMES):
        assert config(rendered, model).ensemble_scheduling.max_inflight_requests == 0
        assert config(tmp_path, model).ensemble_scheduling.max_inflight_requests == 256
        assert config(tmp_path, model, "onnxruntime").ensemble_scheduling.max_inflight_requests == 256
        for profile in ("cpu", "cpu-ensemble"):  # served by the wheel's 2.51
            assert config(tmp_path, model, profile) == config(rendered, model, profile)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"capabilities": ("sm_90",)}, "capabilities: must look like 9.0, got 'sm_90'"),
        ({"triton": (2, 71), "max_inflight_requests": 0}, "max_inflight_requests: must be 1 or more, got 0"),
        (
            {"triton": (2, 51), "max_inflight_requests": 8},
            "max_inflight_requests: Triton 2.51 does not know this field",
        ),
    ],
)
def test_an_option_out_of_range_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        GpuOptions(**values)


@pytest.mark.parametrize(("found", "expected"), [("2.71.0", (2, 71)), ("", (2, 51)), ("unknown", (2, 51))])
def test_the_version_of_triton_comes_from_the_image(
    monkeypatch: pytest.MonkeyPatch, found: str, expected: tuple[int, int]
) -> None:
    monkeypatch.setenv("TRITON_SERVER_VERSION", found)
    assert serving_triton() == GpuOptions().triton == expected
