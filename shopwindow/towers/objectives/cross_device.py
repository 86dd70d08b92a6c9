"""Cross-device negatives (CDNS): every rank contrasts with the products and queries of all ranks.

W ranks with B rows each give the same loss and gradients as one process with W * B rows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of ranks, 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among the ranks, 0 without torch.distributed."""
    return dist.get_rank() if world_size() > 1 else 0


def gather(rows: Tensor) -> Tensor:
    """Return the rows of all ranks in rank order. Gradients flow back to the rank that made each row.

    The backward pass sums the gradients that the losses of all ranks give a row.

    Args:
        rows: (rows, ...). Only the number of rows may differ between ranks.

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
    """Return the sum of the values of all ranks, of any shape, without gradient."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


class _Gather(torch.autograd.Function):
    """Gathers the same number of rows from every rank into a tuple with one tensor per rank."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, ...]:
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = torch.stack(gradients)
        dist.all_reduce(summed)
        return summed[rank()]
