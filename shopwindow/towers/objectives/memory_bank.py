"""Memory-bank negatives (MBNS): products of earlier steps as additional negatives.

The bank holds detached embeddings with their product ids, first in, first out. Its size and warm-up were not published.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MemoryBank(nn.Module):
    """A ring buffer of earlier product embeddings. Its contents are module buffers, so a saved state includes them.

    Args:
        size: number of rows kept. 0 gives a bank that is always empty.
        dim: length of an embedding.
    """

    embeddings: Tensor
    ids: Tensor
    filled: Tensor
    cursor: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("embeddings", torch.zeros(size, dim))
        self.register_buffer("ids", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.int64))

    def read(self) -> tuple[Tensor, Tensor]:
        """Return the contents: embeddings (rows, dim) float32 without gradient, and product ids (rows,) int64."""
        rows = int(self.filled)
        return self.embeddings[:rows], self.ids[:rows]

    @torch.no_grad()
    def push(self, embeddings: Tensor, ids: Tensor) -> None:
        """Add a batch and overwrite the oldest rows.

        Args:
            embeddings: (batch, dim).
            ids: (batch,) int64.
        """
        if not self.size:
            return
        embeddings, ids = embeddings[-self.size :].detach().float(), ids[-self.size :]
        places = (torch.arange(len(ids), device=ids.device) + self.cursor) % self.size
        self.embeddings[places] = embeddings
        self.ids[places] = ids
        self.cursor.copy_((self.cursor + len(ids)) % self.size)
        self.filled.copy_(torch.clamp(self.filled + len(ids), max=self.size))
