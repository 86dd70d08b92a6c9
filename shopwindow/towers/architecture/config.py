"""The sizes of the towers, as a checkpoint's config.json holds them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from shopwindow.retrieval.embedding.bundle import PHOTOS_PER_PRODUCT


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """Sizes of both towers. The papers publish none of these numbers. All are this project's choice.

    Attributes:
        vocab_size: number of tokens that the WordPiece tokeniser knows.
        hidden_size: width of every encoder.
        embedding_dim: length of the shared embedding.
        query_layers, title_layers, image_layers, fusion_layers: transformer blocks in each part.
        heads: number of attention heads. Must divide hidden_size.
        mlp_ratio: width of a block's feed-forward part, as a multiple of hidden_size.
        query_max_tokens, title_max_tokens: size of the position tables. Longer texts are cut.
        image_size: side of the square photo, in pixels.
        patch_size: side of a patch, in pixels. Must be a power of two and divide image_size.
        patch_channels: channels of the first convolution that reads patches. Each further convolution doubles them,
            and the last gives hidden_size. Must be 1, 2, 4, 8 or a multiple of 16.
        dropout: share of the values of word embeddings that training sets to zero.
        modal_adaptation: weigh title and photo product by product (MAKE). False gives both the same weight, for the
            ablation.
        share_text_encoder: use one text encoder for queries and titles, as the blog does (see docs/models.md), for
            the ablation. By our reading MAKE has two.
        photos_per_product: how many photos of a product an index is made from, at least 1. The papers say "several
            display images", and not how they are joined. Our reading: the vector of a product is the normalised mean of
            those of its title with each photo.
        image_mean, image_std: mean and standard deviation of each RGB channel, for pixel values scaled to 0..1.
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
    photos_per_product: int = PHOTOS_PER_PRODUCT
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
        if self.photos_per_product < 1:
            raise ValueError(f"photos_per_product: must be at least 1, got {self.photos_per_product}")
        if self.share_text_encoder and self.query_layers != self.title_layers:
            raise ValueError(
                f"share_text_encoder: query_layers and title_layers must be equal, "
                f"got {self.query_layers} and {self.title_layers}"
            )

    @property
    def patches(self) -> int:
        """Number of patches in a photo."""
        return (self.image_size // self.patch_size) ** 2

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TowerConfig:
        """Read a parsed config.json.

        Raises:
            ValueError: a key is unknown, or sizes do not fit. A typo must not pass as a default.
        """
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k not in _FOREIGN}
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"towers: unknown keys {sorted(unknown)}; known: {[f.name for f in fields(cls)]}")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the plain values to write to config.json."""
        return {"model_type": "shopwindow", **asdict(self)}


_FOREIGN = {"model_type"}


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object."""
    value = json.loads(file.read_text())
    if not isinstance(value, dict):
        raise ValueError(f"{file}: must hold a JSON object")
    return value
