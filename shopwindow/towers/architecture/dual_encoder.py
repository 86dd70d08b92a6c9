"""A published dual encoder (CLIP, Chinese-CLIP or SigLIP) with the interface of `both_towers.Towers`.

One text model reads both queries and titles. transformers is imported only when such an encoder is built.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shopwindow.retrieval.embedding.bundle import PHOTOS_PER_PRODUCT
from shopwindow.towers.architecture.layers import unit

MODEL_TYPE = "dual_encoder"


@dataclass(frozen=True, kw_only=True)
class DualEncoderConfig:
    """The settings of the towers in an adapted checkpoint.

    Attributes:
        model: the Hugging Face config of the dual encoder. Its model_type is one of MODELS.
        pad_id: id of the padding token.
        embedding_dim: length of the shared embedding.
        query_max_tokens, title_max_tokens: most tokens of a text, special tokens included. Longer texts are cut.
        title_weight: weight of the title in a product that also has a photo, above 0 and below 1.
        image_size: side of the square photo, in pixels.
        image_mean, image_std: mean and standard deviation of each RGB channel, for pixel values scaled to 0..1.
        photos_per_product: how many photos of a product an index is made from, as in `config.TowerConfig`.
    """

    model: dict[str, Any]
    pad_id: int
    embedding_dim: int
    query_max_tokens: int
    title_max_tokens: int
    title_weight: float
    image_size: int
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    photos_per_product: int = PHOTOS_PER_PRODUCT

    def __post_init__(self) -> None:
        if self.model.get("model_type") not in MODELS:
            raise ValueError(f"model_type: must be one of {', '.join(MODELS)}, got {self.model.get('model_type')!r}")
        if not 0 < self.title_weight < 1:
            # With 0 or 1, a product that has only the modality of weight 0 would have no embedding.
            raise ValueError(f"title_weight: must be above 0 and below 1, got {self.title_weight}")
        if self.photos_per_product < 1:
            raise ValueError(f"photos_per_product: must be at least 1, got {self.photos_per_product}")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DualEncoderConfig:
        """Read a parsed config.json.

        Raises:
            ValueError: a key is unknown or missing, or a value is out of range.
        """
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "model_type"}
        known = {field.name for field in fields(cls)}
        needed = known - {"photos_per_product"}  # checkpoints of earlier versions lack it
        if not needed <= values.keys() <= known:
            raise ValueError(
                f"towers: unknown keys {sorted(values.keys() - known)}, missing keys {sorted(needed - values.keys())}"
            )
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the plain values to write to config.json."""
        return {"model_type": MODEL_TYPE, **asdict(self)}


class ClipText(nn.Module):
    """CLIP's text encoder: causal attention, pooled at the end-of-text token.

    Args:
        model: the model from transformers.
        config: the settings of the towers.
    """

    def __init__(self, model: Any, config: DualEncoderConfig) -> None:
        super().__init__()
        self.model = model.text_model
        self.projection = model.text_projection

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed; arguments and result as `query_tower.QueryTower`."""
        # CLIP pools at the first end-of-text token or, with old configs, at the highest id. The id 0 is neither, so it
        # can stand in the padding. No mask is needed, because attention is causal: no token sees a later one.
        ids = torch.where(attention_mask > 0, input_ids, 0)
        return unit(self.projection(self.model(input_ids=ids).pooler_output))


class ChineseClipText(nn.Module):
    """Chinese-CLIP's text encoder: BERT, pooled at [CLS]. Arguments as `ClipText`."""

    def __init__(self, model: Any, config: DualEncoderConfig) -> None:
        super().__init__()
        self.pad_id = config.pad_id
        self.model = model.text_model
        self.projection = model.text_projection

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed; arguments and result as `query_tower.QueryTower`."""
        ids = torch.where(attention_mask > 0, input_ids, self.pad_id)
        states = self.model(input_ids=ids, attention_mask=attention_mask).last_hidden_state
        return unit(self.projection(states[:, 0]))


class SiglipText(nn.Module):
    """SigLIP's text encoder. Arguments as `ClipText`.

    SigLIP was trained without a mask on texts padded to the length of its position table, and pools at the last token.
    So the padding is part of the text, and this encoder always pads to that length.
    """

    def __init__(self, model: Any, config: DualEncoderConfig) -> None:
        super().__init__()
        self.pad_id = config.pad_id
        self.tokens: int = model.config.text_config.max_position_embeddings
        self.model = model.text_model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed; arguments and result as `query_tower.QueryTower`."""
        ids = torch.where(attention_mask > 0, input_ids, self.pad_id)
        # Pad by the full length and then cut, so that both sizes are constants in the exported graph.
        ids = F.pad(ids, (0, self.tokens), value=self.pad_id)[:, : self.tokens]
        return unit(self.model(input_ids=ids).pooler_output)


MODELS: dict[str, type[ClipText] | type[ChineseClipText] | type[SiglipText]] = {
    "clip": ClipText,
    "chinese_clip": ChineseClipText,
    "siglip": SiglipText,
}


class Photo(nn.Module):
    """The image encoder: pixels to an embedding. Arguments as `ClipText`."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, config: DualEncoderConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.image_mean) * 255.0, persistent=False)
        self.register_buffer("std", torch.tensor(config.image_std) * 255.0, persistent=False)
        self.model = model.vision_model
        self.projection = getattr(model, "visual_projection", nn.Identity())  # SigLIP has none

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed.

        Args:
            pixels: (batch, size, size, 3) uint8.

        Returns:
            (batch, embedding_dim) float32, L2-normalised.
        """
        values = ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        return unit(self.projection(self.model(pixel_values=values).pooler_output))


class DualProductTower(nn.Module):
    """The product tower: the weighted sum of the title's embedding and the photo's. Either may be missing.

    Args:
        title: embeds texts.
        photo: embeds pixels.
        title_weight: weight of the title if both are present. The photo has the rest.
    """

    shares: Tensor

    def __init__(self, title: nn.Module, photo: Photo, title_weight: float) -> None:
        super().__init__()
        self.title = title
        self.photo = photo
        self.register_buffer("shares", torch.tensor([title_weight, 1.0 - title_weight]), persistent=False)

    def forward(
        self, title_ids: Tensor, title_mask: Tensor, pixels: Tensor, modality_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embed; arguments and results as `product_tower.ProductTower`, except that the weights are fixed."""
        # An absent title may hold any ids. Read it as id 0, which every vocabulary has; its weight is 0 anyway.
        ids = torch.where(modality_mask[:, :1] > 0, title_ids, 0)
        shares = self.shares * modality_mask
        weights = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)
        return unit(weights[:, :1] * self.title(ids, title_mask) + weights[:, 1:] * self.photo(pixels)), weights


class DualEncoder(nn.Module):
    """Both towers of a dual encoder. They share the text model.

    Args:
        config: the settings of the towers.
        model: the model from transformers whose parts to use. None makes an untrained one.

    Raises:
        ValueError: transformers is not installed.
    """

    def __init__(self, config: DualEncoderConfig, model: Any = None) -> None:
        super().__init__()
        self.config = config
        model = _untrained(config) if model is None else model
        title = MODELS[config.model["model_type"]](model, config)
        self.product = DualProductTower(title, Photo(model, config), config.title_weight)

    @property
    def query(self) -> nn.Module:
        """The query tower, which is the encoder that also reads titles."""
        return self.product.title


def import_transformers() -> Any:
    """Import transformers.

    Raises:
        ValueError: transformers cannot be imported. The message says how to install it.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"transformers: cannot be imported ({error}), but towers from CLIP, Chinese-CLIP or SigLIP need it; "
            "install it with `pip install 'transformers>=5.23'`"
        ) from None
    return transformers


def _untrained(config: DualEncoderConfig) -> Any:
    transformers = import_transformers()
    settings = transformers.AutoConfig.for_model(**config.model)
    # Explicit attention, as in `architecture.layers`: it exports to fewer ONNX layers, and masks survive the export.
    model = transformers.AutoModel.from_config(settings, attn_implementation="eager", trust_remote_code=False)
    return model.float()  # the config may ask for half precision
