"""Tiny untrained CLIP, Chinese-CLIP and SigLIP folders in the layout of the published models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import ChineseCLIPConfig, ChineseCLIPModel, CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

SIDE = 32
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
WORDS = ["red", "green", "blue", "black", "mug", "lamp", "chair", "shirt", "a", "small"]

TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "initializer_range": 0.5,
}
VISION = {**TOWER, "image_size": SIDE, "patch_size": 16}


def clip(folder: Path, *, text: dict[str, Any]) -> None:
    """Write a CLIP that pads with the end-of-text token, which has the highest id as in the published models."""
    special = ["<unk>", "<start>", "<end>"]
    tokens = ["<unk>", *WORDS, "<start>", "<end>"]
    text = {**TOWER, "vocab_size": len(tokens), "max_position_embeddings": 12, "bos_token_id": 11, **text}
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8, initializer_factor=10.0)
    write_source(folder, CLIPModel(config), tokens, special, template="<start> $A <end>", pad="<end>")


def chinese_clip(folder: Path) -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokens = [*special, *WORDS]
    text = {**TOWER, "vocab_size": len(tokens), "max_position_embeddings": 60, "pad_token_id": 0}
    config = ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=8, initializer_factor=10.0)
    write_source(folder, ChineseCLIPModel(config), tokens, special, template="[CLS] $A [SEP]", pad="[PAD]")


def siglip(folder: Path) -> None:
    """Write a SigLIP that pads with the end-of-text token. Its config does not say so."""
    special = ["<unk>", "</s>"]
    tokens = ["<unk>", *WORDS, "</s>"]
    text = {**TOWER, "vocab_size": len(tokens), "max_position_embeddings": 12}
    config = SiglipConfig(text_config=text, vision_config=VISION)
    write_source(folder, SiglipModel(config), tokens, special, template="$A </s>", pad="</s>")


def write_source(folder: Path, model: Any, tokens: list[str], special: list[str], *, template: str, pad: str) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # large enough that every input matters
            if parameter.ndim > 1 and "logit" not in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({token: row for row, token in enumerate(tokens)}, unk_token=special[0]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, tokens.index(token)) for token in special if token in template]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": pad}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))


SOURCES: dict[str, Callable[[Path], None]] = {
    "clip": lambda folder: clip(folder, text={"eos_token_id": 12, "pad_token_id": 12}),
    "clip-old": lambda folder: clip(folder, text={"eos_token_id": 2, "pad_token_id": 1}),
    "chinese_clip": chinese_clip,
    "siglip": siglip,
}


def write_published(kind: str, folder: Path) -> Path:
    """Write one of SOURCES, with the same weights every time."""
    torch.manual_seed(1)
    SOURCES[kind](folder)
    return folder
