"""Two processes with B rows each give the same loss and gradients as one process with 2 B rows."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from shopwindow.towers.objectives.contrast import contrast
from shopwindow.towers.objectives.cross_device import gather, world_size

ROWS, DIM = 6, 4


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (2 B, dim) features of queries and of products, and a (dim, dim) weight that every rank shares."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(2 * ROWS, DIM, generator=generator),
        torch.randn(2 * ROWS, DIM, generator=generator),
        torch.randn(DIM, DIM, generator=generator),
    )


def loss_of(queries: torch.Tensor, products: torch.Tensor, weight: torch.Tensor, first: int) -> torch.Tensor:
    """Return the mean contrast of queries with the products of all ranks. The positives begin at column `first`."""
    queries = torch.nn.functional.normalize(queries @ weight, dim=1)
    all_products = gather(torch.nn.functional.normalize(products @ weight, dim=1))
    cosine = queries @ all_products.T
    positive = torch.zeros_like(cosine, dtype=torch.bool)
    positive[torch.arange(len(queries)), first + torch.arange(len(queries))] = True
    return contrast(cosine, positive, torch.zeros_like(positive), scale=5.0, margin=0.1).mean()


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    queries, products, weight = inputs()
    weight.requires_grad_()
    own = slice(rank * ROWS, (rank + 1) * ROWS)
    loss = loss_of(queries[own], products[own], weight, rank * ROWS)
    loss.backward()
    assert weight.grad is not None
    dist.all_reduce(weight.grad)
    ids = gather(torch.arange(ROWS) + 100 * rank)
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    torch.save({"loss": mean / 2, "grad": weight.grad / 2, "ids": ids}, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_equal_one_large_batch(tmp_path: Path) -> None:
    mp.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    queries, products, weight = inputs()
    weight.requires_grad_()
    loss = loss_of(queries, products, weight, 0)
    loss.backward()
    for rank in range(2):
        found = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        torch.testing.assert_close(found["loss"], loss.detach())
        torch.testing.assert_close(found["grad"], weight.grad)
        assert found["ids"].tolist() == [*range(ROWS), *range(100, 100 + ROWS)]


def test_in_a_single_process_gather_returns_its_input() -> None:
    rows = torch.randn(2, 3)
    assert world_size() == 1
    assert gather(rows) is rows
