"""Same-style objectives of eSSPR, exactly as its authors' public loss definitions state them (PAPERS: REPO3).

Every function takes L2-normalised (batch, dim) float32 embeddings of pairs: row i of `trigger` and row i of `offer`
are two listings of one product. "Form" is an embedding of the trigger with one modality masked. Each returns one
loss per row, (batch,) float32. The margins' values were not published; the defaults are this project's choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBOURS = 10  # "only top 10": the number of offers that locality consistency looks at


def _in_batch_hinge(anchors: Tensor, candidates: Tensor, margin: float) -> Tensor:
    """(1 / B) sum over j of max(0, S_ij - S_ii + margin * [i != j]), S = anchors x candidates^T."""
    similarity = anchors @ candidates.T  # [batch, batch]
    own = similarity.diagonal().unsqueeze(1)
    others = 1.0 - torch.eye(len(similarity), device=similarity.device)
    return (similarity - own + margin * others).clamp(min=0.0).mean(dim=1)


def product_matching(trigger: Tensor, offer: Tensor, *, margin: float = 0.2) -> Tensor:
    """PPM: a product, in any form, must be nearer to its partner than to the other partners of the batch."""
    return _in_batch_hinge(trigger, offer, margin)


def self_distinctiveness(trigger: Tensor, form: Tensor, *, margin: float = 0.2) -> Tensor:
    """PDC: a masked form must be nearer to its own full form than to the other triggers of the batch."""
    return _in_batch_hinge(form, trigger, margin)


def locality_consistency(trigger: Tensor, form: Tensor, offer: Tensor, *, margin: float = 0.01) -> Tensor:
    """LC: a masked form must stand to the offers nearest to the full form as the full form does.

    mean over the 10 offers j highest in D_i of max(0, (D_ij - D'_ij)^2 - margin), D = trigger x offer^T and
    D' = form x offer^T.

    Raises:
        ValueError: fewer than 10 rows.
    """
    if len(offer) < NEIGHBOURS:
        raise ValueError(f"batch: locality consistency needs at least {NEIGHBOURS} pairs, got {len(offer)}")
    full = trigger @ offer.T
    masked = form @ offer.T
    nearest = full.topk(NEIGHBOURS, dim=1).indices
    drift = (full.gather(1, nearest) - masked.gather(1, nearest)) ** 2
    return (drift - margin).clamp(min=0.0).mean(dim=1)
