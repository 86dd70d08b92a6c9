"""Masked patch modelling: the contrastive form MPM_R (paper 2) and the regression it replaces.

Our reading: the prediction at a masked place must pick out the original patch of that place among all masked patches
of the batch, in this photo and in others.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def random_mask(batch: int, places: int, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Choose places to hide, (batch, places) bool. Each row has round(share * places) of them, at least one."""
    hidden = max(1, round(share * places))
    order = torch.rand(batch, places, generator=generator).argsort(dim=1)
    return order < hidden


def contrastive(predicted: Tensor, original: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Return the loss of MPM_R: InfoNCE between predictions and originals.

    Args:
        predicted: (masked, dim) predictions at the masked places.
        original: (masked, dim) features of the original patches at these places. They get no gradient.
        temperature: temperature of the softmax over cosines.

    Returns:
        (masked,) float32.
    """
    logits = F.normalize(predicted.float(), dim=-1) @ F.normalize(original.detach().float(), dim=-1).T
    return F.cross_entropy(logits / temperature, torch.arange(len(logits), device=logits.device), reduction="none")


def regression(predicted: Tensor, original: Tensor) -> Tensor:
    """Return the loss of MPM: the mean squared error to the original features. Shapes as `contrastive`."""
    return ((predicted.float() - original.detach().float()) ** 2).mean(-1)
