"""What the plan builder builds and refuses, on TensorRT for RTX, which needs no GPU."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow_export.errors import PlanError
from shopwindow_export.plans import (
    PlanManifest,
    PlanResult,
    Profile,
    ShapeRange,
    build_or_reuse,
    build_plan,
    load_toolkit,
    read_profile,
)
from shopwindow_export.plans.batch_sizes import typical_batches
from shopwindow_export.plans.manifest import manifest_file
from shopwindow_export.plans.profile import read_config
from shopwindow_export.plans.toolkit import BuildProgress
from tests.export.small_repository import rename_output

TOOLKIT = load_toolkit("tensorrt_rtx")
TOKENS = 6  # of a query of the small towers


@pytest.fixture(scope="module")
def profile(small_repository: Path) -> Profile:
    return read_profile(read_config(small_repository / "query_tower" / "config.pbtxt"))


@pytest.fixture
def graph(small_repository: Path, tmp_path: Path) -> Path:
    """A copy of the query tower's graph, which a test may break."""
    return Path(shutil.copy(RepositoryLayout(small_repository).query_tower, tmp_path / "model.onnx"))


def ranges(**shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]) -> Profile:
    return {name: ShapeRange(*each) for name, each in shapes.items()}


def test_the_profile_comes_from_the_config(small_repository: Path) -> None:
    texts = ShapeRange((1, 9), (4, 9), (32, 9))
    assert read_profile(read_config(small_repository / "product_tower" / "config.pbtxt")) == {
        "title_ids": texts,
        "title_mask": texts,
        "pixels": ShapeRange((1, 16, 16, 3), (4, 16, 16, 3), (32, 16, 16, 3)),
        "modality_mask": ShapeRange((1, 2), (4, 2), (32, 2)),
    }


@pytest.mark.parametrize(
    ("largest", "expected"), [(1, (1,)), (2, (1, 2)), (3, (1, 3)), (32, (1, 4, 32)), (64, (1, 8, 64))]
)
def test_typical_batches_are_the_smallest_the_middle_and_the_largest(largest: int, expected: tuple[int, ...]) -> None:
    assert typical_batches(largest) == expected


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("max_batch_size: 64", "max_batch_size: 0", ("max_batch_size must be at least 1", "got 0")),
        ("dims: [ 6 ]", "dims: [ -1 ]", ("'input_ids'", "fixed sizes", "[-1]")),
        ("max_batch_size", "max_batch_sise", ("does not parse", "max_batch_sise")),
    ],
)
def test_a_config_without_a_profile_is_refused(
    small_repository: Path, tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    text = (small_repository / "query_tower" / "config.pbtxt").read_text()
    assert old in text
    (tmp_path / "config.pbtxt").write_text(text.replace(old, new, 1))
    with pytest.raises(PlanError) as refusal:
        read_profile(read_config(tmp_path / "config.pbtxt"))
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_a_build_shows_its_phases(small_repository: Path, profile: Profile, capfd: pytest.CaptureFixture[str]) -> None:
    plan = build_plan(TOOLKIT, RepositoryLayout(small_repository).query_tower, profile)
    assert len(plan) > 10_000
    shown = capfd.readouterr().err
    assert "query_tower plan" in shown
    assert "building engine" in shown


def test_ctrl_c_ends_a_build(graph: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(progress: BuildProgress) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BuildProgress, "done", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_plan(TOOLKIT, graph, profile, progress=False)


# Faults that ONNX Runtime accepts, and that TensorRT reports as False, None or -1.


def test_an_output_with_the_name_of_an_inner_value_is_refused(
    graph: Path, profile: Profile, capfd: pytest.CaptureFixture[str]
) -> None:
    rename_output(graph, "embedding", node="embedding")
    with pytest.raises(PlanError, match="does not parse; export it again") as refusal:
        build_plan(TOOLKIT, graph, profile, progress=False)
    assert "'embedding' is the name of 2 values: rename the output" in str(refusal.value)
    assert "Output name is not unique: embedding" in capfd.readouterr().err  # only there does TensorRT say it


def test_a_sequence_longer_than_the_position_table_is_refused(graph: Path) -> None:
    longer = ((1, TOKENS + 1), (8, TOKENS + 1), (64, TOKENS + 1))
    with pytest.raises(PlanError, match=r"no engine could be built .* input_ids \[64, 7\]") as refusal:
        build_plan(TOOLKIT, graph, ranges(input_ids=longer, attention_mask=longer), progress=False)
    assert "longer than the towers' position table" in str(refusal.value)  # the meaning, and what to do
    assert "broadcast dimensions must be conformable" in str(refusal.value)  # TensorRT's own words


GOOD = ((1, TOKENS), (8, TOKENS), (64, TOKENS))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, ("input_ids, attention_mask", "got none")),
        ({"input_ids": GOOD}, ("input_ids, attention_mask", "got input_ids;")),
        ({"input_ids": GOOD, "attention_mask": GOOD, "colour": GOOD}, ("got input_ids, attention_mask, colour",)),
        (
            {"input_ids": GOOD, "attention_mask": ((8, 6), (4, 6), (64, 6))},
            ("must rise from smallest to largest", "[8, 6] to [4, 6]", "MIN<=OPT<=MAX"),
        ),
        ({"input_ids": GOOD, "attention_mask": ((1,), (8,), (64,))}, ("'attention_mask'", "[-1, -1]", "got [1]")),
    ],
    ids=["empty", "an input left out", "an input too many", "falling", "without the length"],
)
def test_a_profile_that_does_not_fit_is_refused(graph: Path, shapes: dict[str, tuple], words: tuple[str, ...]) -> None:
    with pytest.raises(PlanError) as refusal:
        build_plan(TOOLKIT, graph, ranges(**shapes), progress=False)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_photos_of_another_size_are_refused(small_repository: Path) -> None:
    profile = read_profile(read_config(small_repository / "product_tower" / "config.pbtxt"))
    profile["pixels"] = ShapeRange(*((batch, 24, 24, 3) for batch in (1, 4, 32)))
    with pytest.raises(PlanError, match=r"'pixels' .* takes \[-1, 16, 16, 3\] .* got \[1, 24, 24, 3\]"):
        build_plan(TOOLKIT, RepositoryLayout(small_repository).product_tower, profile, progress=False)


def test_a_missing_or_broken_graph_is_refused(tmp_path: Path, profile: Profile) -> None:
    with pytest.raises(FileNotFoundError, match="shopwindow export"):
        build_plan(TOOLKIT, tmp_path / "model.onnx", profile, progress=False)
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(PlanError, match="does not parse"):
        build_plan(TOOLKIT, tmp_path / "model.onnx", profile, progress=False)


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of tensorrt, tensorrt_rtx, got 'tensorflow'"):
        load_toolkit("tensorflow")


# A plan on disk.


def build(graph: Path, profile: Profile, plan: Path, **changes: object) -> PlanResult:
    options: dict = {"compute_capability": "9.0", "precision": "fp32", "progress": False, **changes}
    return build_or_reuse(TOOLKIT, graph, plan, profile, **options)


@pytest.fixture
def built(graph: Path, profile: Profile) -> PlanResult:
    return build(graph, profile, graph.with_name("model.plan"))


def test_a_plan_carries_its_manifest(built: PlanResult, graph: Path, profile: Profile) -> None:
    assert not built.reused
    assert {file.name for file in graph.parent.iterdir()} == {"model.onnx", "model.plan", "model.plan.json"}
    manifest = PlanManifest.read(built.plan)
    assert manifest == built.manifest
    assert manifest.key.profile == profile
    assert (manifest.key.module, manifest.key.version) == ("tensorrt_rtx", TOOLKIT.version)
    assert (manifest.key.compute_capability, manifest.key.precision) == ("9.0", "fp32")


def test_an_equal_plan_is_kept(built: PlanResult, graph: Path, profile: Profile) -> None:
    built.plan.chmod(0o444)
    before = built.plan.stat()
    again = build(graph, profile, built.plan)
    assert again.reused
    assert again.manifest == built.manifest
    assert built.plan.stat().st_ino == before.st_ino


def test_an_equal_plan_elsewhere_is_copied(built: PlanResult, graph: Path, profile: Profile, tmp_path: Path) -> None:
    place = tmp_path / "new" / "model.plan"
    place.parent.mkdir()
    other = tmp_path / "none" / "model.plan"  # an earlier repository need not have one
    result = build(graph, profile, place, earlier=[other, built.plan])
    assert result.reused
    assert place.read_bytes() == built.plan.read_bytes()
    assert PlanManifest.read(place) == built.manifest


@pytest.mark.parametrize(
    "changed", ["graph", "profile", "GPU", "precision", "version", "plan", "manifest", "no manifest"]
)
def test_a_plan_that_differs_in_anything_is_built_again(
    built: PlanResult, graph: Path, profile: Profile, small_repository: Path, changed: str
) -> None:
    options: dict[str, object] = {}
    match changed:
        case "graph":
            rename_output(graph, "query_vector", node="query_vector")
        case "profile":
            profile = {name: each._replace(maximum=(16, TOKENS)) for name, each in profile.items()}
        case "GPU":
            options["compute_capability"] = "8.9"
        case "precision":
            options["precision"] = "fp16"
        case "version":
            older = replace(built.manifest, key=replace(built.manifest.key, version="1.6.0.1"))
            manifest_file(built.plan).write_text(older.to_json())
        case "plan":
            built.plan.write_bytes(built.plan.read_bytes()[:-1])
        case "manifest":
            manifest_file(built.plan).write_text('{"colour": "red"}')
        case "no manifest":
            manifest_file(built.plan).unlink()
    result = build(graph, profile, built.plan, **options)
    assert not result.reused
    assert PlanManifest.read(built.plan) == result.manifest
    assert build(graph, profile, built.plan, **options).reused


def test_a_build_that_fails_leaves_the_plan_alone(built: PlanResult, graph: Path) -> None:
    before = built.plan.read_bytes()
    with pytest.raises(PlanError):
        build(graph, {}, built.plan)
    assert built.plan.read_bytes() == before
    assert PlanManifest.read(built.plan) == built.manifest


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
def test_kernel_times_are_written_and_read_again(graph: Path, profile: Profile, tmp_path: Path) -> None:
    cache = tmp_path / "caches" / "timings.cache"
    build_plan(TOOLKIT, graph, profile, timing_cache=cache, progress=False)
    assert cache.stat().st_size
    assert build_plan(TOOLKIT, graph, profile, timing_cache=cache, progress=False)
    assert [file.name for file in cache.parent.iterdir()] == [cache.name]
