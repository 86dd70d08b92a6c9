"""Contrast of queries with products and of products with queries, with one or more positives and three losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

KINDS = ("am_softmax", "softmax", "sigmoid")
_NONE = -1e9  # logit of a candidate that does not count; finite, so that a row without negatives gives 0 and not NaN


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

    With AM-Softmax (the blog's QIC, see docs/models.md) the loss of anchor i is the mean over its positives j of

        -log( e^{s (c_ij - m)} / (e^{s (c_ij - m)} + sum over negatives n of e^{s c_in}) ).

    So positives never compete with each other (Keyword Enhancement, our reading of MAKE). `softmax` is the same with
    m = 0. `sigmoid` judges each pair alone and compares its cosine with m.

    Args:
        cosine: (anchors, candidates) float32.
        positive: (anchors, candidates) bool, candidates that should be near.
        ignored: (anchors, candidates) bool, candidates that are neither: known or likely positives.
        kind: one of KINDS.
        scale: s.
        margin: m, in cosine.

    Returns:
        (anchors,) float32, 0 for an anchor without positives; with `sigmoid`, negatives count also without positives.

    Raises:
        ValueError: the kind is unknown.
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
