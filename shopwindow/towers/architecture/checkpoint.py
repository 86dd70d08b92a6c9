"""Checkpoints: folders in the style of Hugging Face, identified by a hash.

A folder holds config.json, model.safetensors, tokenizer.json and preprocessor_config.json. None of them is a pickle.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.config import TowerConfig, read_json
from shopwindow.towers.architecture.dual_encoder import MODEL_TYPE, DualEncoder, DualEncoderConfig

FILES = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        folder: where it was read from.
        towers: the towers in evaluation mode, float32.
        tower_hash: SHA-256 over the checkpoint's four files.
    """

    folder: Path
    towers: Towers | DualEncoder
    tower_hash: str


def save_checkpoint(folder: Path, towers: Towers | DualEncoder, tokenizer: Tokenizer) -> None:
    """Write a checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    values = towers.config.to_json()
    size = values.pop("image_size")
    preprocessor = {
        "size": {"height": size, "width": size},
        "resample": "bicubic",
        "pad_colour": [255, 255, 255],
        "image_mean": values.pop("image_mean"),
        "image_std": values.pop("image_std"),
    }
    _write_json(folder / "config.json", values)
    _write_json(folder / "preprocessor_config.json", preprocessor)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(
        {name: tensor.clone().contiguous() for name, tensor in towers.state_dict().items()},
        folder / "model.safetensors",
    )
    (folder / "model.safetensors").chmod(0o644)  # safetensors lets only the owner read it


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder.

    Raises:
        FileNotFoundError: a file is missing; the message names it.
        ValueError: config.json has unknown keys or sizes that do not fit, or the towers come from `shopwindow adapt`
            and transformers is not installed.
        RuntimeError: the weights do not fit the config.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"checkpoint {folder}: {name} is missing")
    preprocessor = read_json(folder / "preprocessor_config.json")
    values = {
        **read_json(folder / "config.json"),
        "image_size": preprocessor["size"]["height"],
        "image_mean": preprocessor["image_mean"],
        "image_std": preprocessor["image_std"],
    }
    towers: Towers | DualEncoder
    if values.get("model_type") == MODEL_TYPE:
        towers = DualEncoder(DualEncoderConfig.from_json(values))
    else:
        towers = Towers(TowerConfig.from_json(values))
    towers.load_state_dict(load_file(folder / "model.safetensors"))
    return Checkpoint(folder=folder, towers=towers.eval(), tower_hash=hash_checkpoint(folder))


def hash_checkpoint(folder: Path) -> str:
    """Return the SHA-256 over the checkpoint's files, in a fixed order."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update(name.encode())
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n")
