"""Cross-device negatives (CDNS): every rank contrasts with the products of all ranks.

With W ranks of B rows, loss and gradients equal those of one process with W * B rows.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather as all_gather_with_gradient


def world_size() -> int:
    """Number of ranks, 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(rows: Tensor) -> Tensor:
    """All ranks' rows in rank order, with gradient flowing back to the rank that made each.

    Args:
        rows: (batch, ...), the same shape on every rank.

    Returns:
        (ranks * batch, ...).
    """
    if world_size() == 1:
        return rows
    if rows.is_floating_point():
        return torch.cat(all_gather_with_gradient(rows))  # type: ignore[no-untyped-call]
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)
