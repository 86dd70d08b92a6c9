"""Shape of the towers, read from and written to a checkpoint's config.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """Sizes of both towers. The papers disclose none of these numbers; all are this project's choice.

    Attributes:
        vocab_size: of the WordPiece tokeniser.
        hidden_size: width of every encoder.
        embedding_dim: length of the shared embedding.
        query_layers, title_layers, image_layers, fusion_layers: transformer blocks per part.
        heads: attention heads; divides hidden_size.
        mlp_ratio: width of a block's feed-forward part over hidden_size.
        query_max_tokens, title_max_tokens: size of the position tables; longer texts are cut.
        image_size: side of the square photo, pixels.
        patch_size: side of a patch, pixels, a power of two; divides image_size.
        patch_channels: of the first convolution that reads patches; they double with each further one, and the last
            gives hidden_size. 1, 2, 4, 8 or a multiple of 16.
        dropout: share of the values of word embeddings that training sets to zero.
        modal_adaptation: weigh title and photo by what they say (MAKE); False weighs them alike, for the ablation.
        share_text_encoder: one text encoder for queries and titles (BLOG-B), for the ablation; by our reading MAKE
            has two.
        image_mean, image_std: per RGB channel, of pixel values scaled to 0..1.
    """

    vocab_size: int
    hidden_size: int = 128
    embedding_dim: int = 128
    query_layers: int = 2
    title_layers: int = 2
    image_layers: int = 2
    fusion_layers: int = 1
    heads: int = 4
    mlp_ratio: float = 2.0
    query_max_tokens: int = 32
    title_max_tokens: int = 64
    image_size: int = 64
    patch_size: int = 8
    patch_channels: int = 16
    dropout: float = 0.1
    modal_adaptation: bool = True
    share_text_encoder: bool = False
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads:
            raise ValueError(f"heads: must divide hidden_size {self.hidden_size}, got {self.heads}")
        if self.image_size % self.patch_size:
            raise ValueError(f"patch_size: must divide image_size {self.image_size}, got {self.patch_size}")
        if self.patch_size < 2 or self.patch_size & (self.patch_size - 1):
            raise ValueError(f"patch_size: must be a power of two, at least 2, got {self.patch_size}")
        if self.patch_channels not in (1, 2, 4, 8) and (self.patch_channels < 1 or self.patch_channels % 16):
            raise ValueError(f"patch_channels: must be 1, 2, 4, 8 or a multiple of 16, got {self.patch_channels}")
        if self.share_text_encoder and self.query_layers != self.title_layers:
            raise ValueError(
                f"share_text_encoder: needs query_layers {self.query_layers} = title_layers {self.title_layers}"
            )

    @property
    def patches(self) -> int:
        """Patches per photo."""
        return (self.image_size // self.patch_size) ** 2

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TowerConfig:
        """From a parsed config.json; unknown keys are refused so that a typo cannot pass as a default."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k not in _FOREIGN}
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"towers: unknown keys {sorted(unknown)}; known: {[f.name for f in fields(cls)]}")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Plain values for config.json."""
        return {"model_type": "shopwindow", **asdict(self)}


_FOREIGN = {"model_type"}


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object."""
    value = json.loads(file.read_text())
    if not isinstance(value, dict):
        raise ValueError(f"{file}: must hold a JSON object")
    return value
