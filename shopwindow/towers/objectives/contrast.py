"""Contrast of queries with products, and of products with queries: one positive or several, three forms of loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

KINDS = ("am_softmax", "softmax", "sigmoid")
_NONE = -1e9  # a logit that takes no part; finite, so that a row with nothing left gives 0 and not NaN


def contrast(
    cosine: Tensor,
    positive: Tensor,
    ignored: Tensor,
    *,
    kind: str = "am_softmax",
    scale: float = 20.0,
    margin: float = 0.2,
) -> Tensor:
    """Contrast each anchor's positives with its negatives.

    For AM-Softmax (BLOG-A7: QIC) the loss of anchor i is the mean over its positives j of

        -log( e^{s (c_ij - m)} / (e^{s (c_ij - m)} + sum over negatives n of e^{s c_in}) ),

    so positives never compete with one another (Keyword Enhancement, our reading of MAKE). `softmax` is the same
    with m = 0. `sigmoid` judges every pair alone, against the cosine m.

    Args:
        cosine: (anchors, candidates) float32.
        positive: (anchors, candidates) bool, what should be near.
        ignored: (anchors, candidates) bool, what must count neither way: known or likely positives.
        kind: one of KINDS.
        scale: s.
        margin: m, in cosine.

    Returns:
        (anchors,) float32; 0 for an anchor without positives.

    Raises:
        ValueError: unknown kind.
    """
    negative = ~(positive | ignored)
    count = positive.sum(1).clamp(min=1)
    if kind == "sigmoid":
        logits = scale * (cosine - margin)
        near = F.softplus(-logits) * positive
        far = F.softplus(logits) * negative
        return near.sum(1) / count + far.sum(1) / negative.sum(1).clamp(min=1)
    if kind not in KINDS:
        raise ValueError(f"kind: must be one of {', '.join(KINDS)}, got {kind!r}")
    against = torch.logsumexp((scale * cosine).masked_fill(~negative, _NONE), dim=1, keepdim=True)
    own = scale * (cosine - (margin if kind == "am_softmax" else 0.0))
    losses = F.softplus(against - own)
    return (losses * positive).sum(1) / count
