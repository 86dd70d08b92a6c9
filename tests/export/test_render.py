"""Rendering: every profile of every model, no placeholder left, and a template that stays as it was."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export import render
from export.render import ENSEMBLES, MODELS, render_models
from retrieval.bundle import Bundle

BUNDLE = Bundle(tower_hash="c0ffee" * 10, embedding_dim=96, query_max_tokens=21, title_max_tokens=43, image_size=72)
ENSEMBLE_NAMES = {"retrieve", "retrieve_similar", "embed_query", "embed_product"}
STEPS = {"query_tokenizer", "query_tower", "product_preprocessor", "product_tower", "product_index"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    render_models(folder, BUNDLE, cpu_instances=3)
    return folder


def config(folder: Path, model: str, profile: str | None = None) -> ModelConfig:
    """A model's config under a profile, as Triton picks it: the profile's own file, else config.pbtxt."""
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


def test_every_model_is_there_with_a_version_folder(rendered: Path) -> None:
    assert {folder.name for folder in rendered.iterdir()} == STEPS | ENSEMBLE_NAMES
    assert all((rendered / model / "1").is_dir() for model in STEPS | ENSEMBLE_NAMES)
    assert all((rendered / model / "config.pbtxt").is_file() for model in STEPS | ENSEMBLE_NAMES)


def test_no_placeholder_is_left(rendered: Path) -> None:
    for file in rendered.rglob("*"):
        if file.is_file():
            assert not re.search(r"\$\{|\$[a-z]", file.read_text()), file


def test_the_values_of_the_checkpoint_stand_in_the_configs(rendered: Path) -> None:
    tower = config(rendered, "query_tower")
    assert [list(tensor.dims) for tensor in (*tower.input, *tower.output)] == [[21], [21], [96]]
    product = config(rendered, "product_tower")
    assert [list(tensor.dims) for tensor in product.input] == [[43], [43], [72, 72, 3], [2]]
    for model in ("retrieve", "retrieve_similar", "product_index"):
        parameters = {name: value.string_value for name, value in config(rendered, model).parameters.items()}
        assert parameters["embedding_dim"] == "96"
        assert parameters["tower_hash"] == BUNDLE.tower_hash
        assert (parameters["default_top_k"], parameters["max_top_k"]) == ("100", "10000")


@pytest.mark.parametrize("profile", [None, "cpu", "cpu-ensemble"])
@pytest.mark.parametrize("model", sorted(STEPS | ENSEMBLE_NAMES))
def test_every_profile_of_a_model_keeps_its_name_and_contract(rendered: Path, model: str, profile: str | None) -> None:
    found, gpu = config(rendered, model, profile), config(rendered, model)
    assert found.name == model
    assert [tensor.name for tensor in found.input] == [tensor.name for tensor in gpu.input]
    assert [tensor.data_type for tensor in found.input] == [tensor.data_type for tensor in gpu.input]
    assert [tensor.name for tensor in found.output] == [tensor.name for tensor in gpu.output]
    if profile is not None:
        assert found.backend == "python" or found.platform == "ensemble"
        assert all(group.kind != group.KIND_GPU for group in found.instance_group)
    if found.backend == "python":
        assert (rendered / model / "1" / "model.py").is_file()


def test_retrieving_models_are_fused_under_cpu_and_ensembles_otherwise(rendered: Path) -> None:
    for model in ("retrieve", "retrieve_similar"):
        assert config(rendered, model, "cpu").backend == "python"
        assert config(rendered, model, "cpu-ensemble").platform == "ensemble"
        assert config(rendered, model).platform == "ensemble"
    assert sum(group.count for group in config(rendered, "retrieve", "cpu").instance_group) == 3


@pytest.mark.parametrize("profile", [None, "cpu-ensemble"])
@pytest.mark.parametrize("model", sorted(ENSEMBLE_NAMES))
def test_the_steps_of_an_ensemble_fit_together(rendered: Path, model: str, profile: str | None) -> None:
    ensemble = config(rendered, model, profile)
    made = {tensor.name for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        inner = config(rendered, step.model_name, profile)
        assert set(step.input_map) == {tensor.name for tensor in inner.input}
        assert set(step.output_map) <= {tensor.name for tensor in inner.output}
        assert set(step.input_map.values()) <= made
        made |= set(step.output_map.values())
    assert {tensor.name for tensor in ensemble.output} <= made


def test_code_is_copied_as_it_is(rendered: Path) -> None:
    sources = sorted(MODELS.rglob("*.py"))
    assert sources
    for source in sources:
        assert (rendered / source.relative_to(MODELS)).read_bytes() == source.read_bytes()


def test_the_template_is_not_touched(tmp_path: Path) -> None:
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
