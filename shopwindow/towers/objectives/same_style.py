"""Same-style objectives of eSSPR, exactly as its authors define them in their published loss code.

Every function takes L2-normalised (batch, dim) float32 embeddings of pairs: row i of `trigger` and row i of `offer`
are two listings of one product. `form` is an embedding of the trigger with one modality masked. Every function returns
one loss per row, (batch,) float32. The values of the margins were not published. The defaults are our choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBOURS = 10  # number of offers that locality consistency compares ("only top 10" in the published code)


def _in_batch_hinge(anchors: Tensor, candidates: Tensor, margin: float) -> Tensor:
    """Return (1 / B) sum over j of max(0, S_ij - S_ii + margin * [i != j]) with S = anchors x candidates^T."""
    similarity = anchors @ candidates.T  # [batch, batch]
    own = similarity.diagonal().unsqueeze(1)
    others = 1.0 - torch.eye(len(similarity), device=similarity.device)
    return (similarity - own + margin * others).clamp(min=0.0).mean(dim=1)


def product_matching(trigger: Tensor, offer: Tensor, *, margin: float = 0.2) -> Tensor:
    """Return the PPM loss: a product, in any form, must be nearer to its partner than to the batch's other partners."""
    return _in_batch_hinge(trigger, offer, margin)


def self_distinctiveness(trigger: Tensor, form: Tensor, *, margin: float = 0.2) -> Tensor:
    """Return the PDC loss: a masked form must be nearer to its own full form than to the batch's other triggers."""
    return _in_batch_hinge(form, trigger, margin)


def locality_consistency(trigger: Tensor, form: Tensor, offer: Tensor, *, margin: float = 0.01) -> Tensor:
    """Return the LC loss: a masked form must have the same similarity to the nearest offers as the full form.

    The loss of row i is the mean of max(0, (D_ij - D'_ij)^2 - margin) over the 10 offers j with the highest D_ij. Here
    D = trigger x offer^T and D' = form x offer^T.

    Raises:
        ValueError: there are fewer than 10 rows.
    """
    if len(offer) < NEIGHBOURS:
        raise ValueError(f"batch: locality consistency needs at least {NEIGHBOURS} pairs, got {len(offer)}")
    full = trigger @ offer.T
    masked = form @ offer.T
    nearest = full.topk(NEIGHBOURS, dim=1).indices
    drift = (full.gather(1, nearest) - masked.gather(1, nearest)) ** 2
    return (drift - margin).clamp(min=0.0).mean(dim=1)
