"""What `adapt` refuses, and what it does not overwrite."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shopwindow.towers.architecture.checkpoint import FILES, load_checkpoint, save_checkpoint
from shopwindow.towers.architecture.from_hugging_face import adapt
from shopwindow.towers.data.tokenizer import train_tokenizer
from tests.towers.architecture.published import write_published
from tests.towers.small import small_towers


@pytest.fixture
def clip_source(tmp_path: Path) -> Path:
    """A CLIP that a test may change."""
    return write_published("clip", tmp_path / "source")


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_an_unsupported_model_type_is_refused_and_the_supported_ones_named(clip_source: Path, tmp_path: Path) -> None:
    edit(clip_source / "config.json", model_type="blip")
    with pytest.raises(ValueError, match=r"model_type must be one of clip, chinese_clip, siglip, got 'blip'"):
        adapt(clip_source, tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_pickled_weights_are_refused_with_a_hint(clip_source: Path, tmp_path: Path) -> None:
    torch.save(load_file(clip_source / "model.safetensors"), clip_source / "pytorch_model.bin")
    (clip_source / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"only as pytorch_model\.bin; such a pickle.*refused.*save_pretrained"):
        adapt(clip_source, tmp_path / "checkpoint")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(clip_source: Path, tmp_path: Path, name: str) -> None:
    (clip_source / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing"):
        adapt(clip_source, tmp_path / "checkpoint")


def test_incomplete_weights_are_refused(clip_source: Path, tmp_path: Path) -> None:
    weights = load_file(clip_source / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, clip_source / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"the weights lack visual_projection\.weight"):
        adapt(clip_source, tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"post_processor": None}, "adds no special tokens"),
        (
            {
                "post_processor": {
                    "type": "BertProcessing",
                    "cls": ["<end>", 12],
                    "sep": ["<start>", 11],
                }
            },
            "ends a text with the id 11, but the model pools at eos_token_id 12",
        ),
        (
            {"model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 0, "red": 13}}},
            "holds the id 13, but the model's vocab_size is 13",
        ),
    ],
    ids=["no special tokens", "another end", "too large"],
)
def test_a_tokeniser_that_does_not_fit_is_refused(
    clip_source: Path, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    edit(clip_source / "tokenizer.json", **changes)
    with pytest.raises(ValueError, match=rf"^tokenizer\.json: {named}"):
        adapt(clip_source, tmp_path / "checkpoint")


@pytest.mark.parametrize("weight", [-0.1, 0.0, 1.0, float("nan")])
def test_a_title_weight_that_would_leave_products_without_embedding_is_refused(
    clip_source: Path, tmp_path: Path, weight: float
) -> None:
    with pytest.raises(ValueError, match=r"title_weight: must be above 0 and below 1, got"):
        adapt(clip_source, tmp_path / "checkpoint", title_weight=weight)


def test_the_source_and_other_models_are_not_overwritten(clip_source: Path, tmp_path: Path) -> None:
    shutil.copytree(clip_source, tmp_path / "other")
    for out in (clip_source, tmp_path / "other"):
        before = {file.name: file.read_bytes() for file in out.iterdir()}
        with pytest.raises(FileExistsError, match="name another folder"):
            adapt(clip_source, out)
        assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_without_transformers_only_adapted_towers_fail_and_say_what_to_install(
    clip_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapt(clip_source, tmp_path / "adapted")
    save_checkpoint(tmp_path / "own", small_towers(), train_tokenizer(["red mug"], 40))
    monkeypatch.setitem(sys.modules, "transformers", None)
    load_checkpoint(tmp_path / "own")
    with pytest.raises(ValueError, match=r"^transformers: .*pip install 'transformers"):
        load_checkpoint(tmp_path / "adapted")
