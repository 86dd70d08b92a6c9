"""Training objectives, each a function of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def am_softmax(
    anchors: Tensor, candidates: Tensor, known_positives: Tensor, *, scale: float = 20.0, margin: float = 0.2
) -> Tensor:
    """Additive-margin softmax over cosine similarity (query-product contrast; PAPERS: BLOG-A7, QIC).

    -log( e^{s (c+ - m)} / (e^{s (c+ - m)} + sum over negatives e^{s c-}) ), where candidate i is the positive of
    anchor i and every other candidate that is a known positive of the anchor is left out of the sum.

    Args:
        anchors: (batch, dim) float32, L2-normalised.
        candidates: (batch, dim) float32, L2-normalised.
        known_positives: (batch, batch) bool, True where candidate j also answers anchor i.
        scale: s.
        margin: m, in cosine.

    Returns:
        (batch,) float32 losses.
    """
    cosine = anchors @ candidates.T  # [batch, batch]
    own = torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
    logits = scale * (cosine - margin * own)
    logits = logits.masked_fill(known_positives & ~own, float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device), reduction="none")
