"""Masked patch modelling: the contrastive form MPM_R (paper 2) and the regression it replaces.

Our reading: the prediction at a masked place must pick out its own original patch among all masked patches of the
batch, in this image and in others.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def random_mask(batch: int, places: int, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Choose places to hide: (batch, places) bool with round(share * places) True in each row."""
    hidden = max(1, round(share * places))
    order = torch.rand(batch, places, generator=generator).argsort(dim=1)
    return order < hidden


def contrastive(predicted: Tensor, original: Tensor, *, temperature: float = 0.1) -> Tensor:
    """MPM_R: InfoNCE between predictions and originals.

    Args:
        predicted: (masked, dim) predictions at the masked places.
        original: (masked, dim) features of the patches that stood there; no gradient flows into them.
        temperature: of the softmax over cosines.

    Returns:
        (masked,) float32.
    """
    logits = F.normalize(predicted.float(), dim=-1) @ F.normalize(original.detach().float(), dim=-1).T
    return F.cross_entropy(logits / temperature, torch.arange(len(logits), device=logits.device), reduction="none")


def regression(predicted: Tensor, original: Tensor) -> Tensor:
    """MPM: mean squared error to the original features; shapes as `contrastive`."""
    return ((predicted.float() - original.detach().float()) ** 2).mean(-1)
