"""Checkpoint folders: loading gives what was saved, and the hash shows any change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from shopwindow.towers.architecture.checkpoint import FILES, hash_checkpoint, load_checkpoint, save_checkpoint
from shopwindow.towers.data.tokenizer import train_tokenizer
from tests.towers.small import small_towers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A written checkpoint."""
    save_checkpoint(tmp_path / "checkpoint", small_towers(), train_tokenizer(["red mug", "blue lamp"], 40))
    return tmp_path / "checkpoint"


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_loaded_towers_compute_the_same_as_the_saved_ones(folder: Path) -> None:
    saved, loaded = small_towers(), load_checkpoint(folder)
    ids = torch.randint(0, 40, (3, 5), dtype=torch.int32)
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    product = (ids, torch.ones_like(ids), pixels, torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]))
    assert loaded.towers.config == saved.config
    assert not loaded.towers.training
    with torch.inference_mode():
        assert torch.equal(loaded.towers.query(*product[:2]), saved.query(*product[:2]))
        assert torch.equal(loaded.towers.product(*product)[0], saved.product(*product)[0])


def test_a_checkpoint_keeps_the_mean_and_standard_deviation_of_pixels(tmp_path: Path) -> None:
    towers = small_towers(image_mean=(0.1, 0.2, 0.3), image_std=(0.4, 0.5, 0.6))
    save_checkpoint(tmp_path, towers, train_tokenizer(["red mug"], 40))
    pixels = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    loaded = load_checkpoint(tmp_path).towers
    assert torch.equal(loaded.product.image.patches(pixels), towers.product.image.patches(pixels))
    normalised = (pixels / 255 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([0.4, 0.5, 0.6])
    expected = loaded.product.image.embed(normalised.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
    assert torch.allclose(loaded.product.image.patches(pixels), expected, atol=1e-5)


def test_the_same_checkpoint_saved_twice_has_the_same_hash(folder: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(folder)
    save_checkpoint(tmp_path / "again", small_towers(), train_tokenizer(["red mug", "blue lamp"], 40))
    assert load_checkpoint(tmp_path / "again").tower_hash == loaded.tower_hash == hash_checkpoint(folder)
    assert len(loaded.tower_hash) == 64


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_of_any_file_changes_the_hash(folder: Path, name: str) -> None:
    before = hash_checkpoint(folder)
    data = bytearray((folder / name).read_bytes())
    data[-2] ^= 1
    (folder / name).write_bytes(data)
    assert hash_checkpoint(folder) != before


def test_a_file_beside_the_checkpoint_does_not_change_the_hash(folder: Path) -> None:
    before = hash_checkpoint(folder)
    (folder / "README.md").write_text("notes")
    assert hash_checkpoint(folder) == before


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        load_checkpoint(folder)


def test_an_unknown_config_key_is_refused_and_the_known_ones_named(folder: Path) -> None:
    edit(folder / "config.json", hiden_size=16)
    with pytest.raises(ValueError, match=r"unknown keys \['hiden_size'\]; known: .*'hidden_size'"):
        load_checkpoint(folder)


def test_weights_that_do_not_fit_the_config_are_refused(folder: Path) -> None:
    edit(folder / "config.json", embedding_dim=13)
    with pytest.raises(RuntimeError, match=r"size mismatch for query\.head\.weight"):
        load_checkpoint(folder)


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_missing_or_unknown_weights_are_refused(folder: Path, change: str) -> None:
    weights = load_file(folder / "model.safetensors")
    moved = weights.pop("product.no_title")
    if change == "unknown":
        weights |= {"product.no_title": moved, "product.no_words": moved.clone()}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"product\.no_title|product\.no_words"):
        load_checkpoint(folder)


def test_nothing_in_a_checkpoint_is_a_pickle(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        assert isinstance(json.loads((folder / name).read_text()), dict)
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        assert set(weights.keys()) == set(small_towers().state_dict())
