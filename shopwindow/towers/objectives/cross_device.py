"""Cross-device negatives (CDNS): every rank contrasts with the products and queries of all ranks.

With W ranks of B rows, loss and gradients equal those of one process with W * B rows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks, 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among the ranks, 0 without torch.distributed."""
    return dist.get_rank() if world_size() > 1 else 0


def gather(rows: Tensor) -> Tensor:
    """All ranks' rows in rank order, with gradient flowing back to the rank that made each.

    Backward sums what the losses of all ranks ask of a row.

    Args:
        rows: (rows, ...); ranks may differ in the number of rows and in nothing else.

    Returns:
        (rows of all ranks, ...).
    """
    if world_size() == 1:
        return rows
    sizes = _Gather.apply(torch.tensor([len(rows)], device=rows.device))  # type: ignore[no-untyped-call]
    counts = [int(size) for size in sizes]
    padding = rows.new_zeros(max(counts) - len(rows), *rows.shape[1:])
    parts = _Gather.apply(torch.cat([rows, padding]))  # type: ignore[no-untyped-call]
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of all ranks' values, any shape; without gradient."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


class _Gather(torch.autograd.Function):
    """The same number of rows from every rank, to a tuple with each rank's."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, ...]:
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        asked = torch.stack(gradients)
        dist.all_reduce(asked)
        return asked[rank()]
