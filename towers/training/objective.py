"""The loss of one training step."""

from __future__ import annotations

import torch
from torch import Tensor

from towers.model import Towers
from towers.objectives.contrast import contrast
from towers.training.batches import Batch
from towers.training.config import TrainingConfig


def step_loss(towers: Towers, batch: Batch, training: TrainingConfig) -> Tensor:
    """Query-product contrast for the full, the title-only and the photo-only form of the products, both ways."""
    has_title, has_image, whole = batch.has_title.float(), batch.has_image.float(), batch.whole.float()
    absent = torch.zeros_like(has_title)
    forms = (
        # weight, which modalities count, which rows count
        (1.0, torch.stack([has_title, has_image], 1), torch.maximum(has_title, has_image)),
        (training.form_weight, torch.stack([has_title, absent], 1), has_title * whole),
        (training.form_weight, torch.stack([absent, has_image], 1), has_image * whole),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training.bf16):
        ids, mask = batch.title
        queries = towers.query(*batch.query)
        title, patches = towers.product.title(ids, mask.float()), towers.product.image(batch.pixels)
        products = [towers.product.fuse(title, mask.float(), patches, modalities)[0] for _, modalities, _ in forms]
    own = batch.positive
    total = torch.zeros(())
    for (weight, _, rows), embedded in zip(forms, products, strict=True):
        # A form that tells another story than its product is no negative either.
        ignored = batch.known_positives | (rows == 0)
        cosine = queries @ embedded.T
        forward = contrast(cosine, own, ignored, scale=training.scale, margin=training.margin)
        backward = contrast(cosine.T, own.T, batch.known_positives.T, scale=training.scale, margin=training.margin)
        total = total + weight * (_mean(forward, own.float() @ rows) + _mean(backward, rows))
    return total


def _mean(losses: Tensor, rows: Tensor) -> Tensor:
    """Mean over the rows that count, which `rows` marks with 1."""
    return (losses * rows).sum() / rows.sum().clamp(min=1.0)
