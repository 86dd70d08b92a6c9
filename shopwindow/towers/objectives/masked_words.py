"""Masked language modelling in the towers, on query and title tokens (BLOG-B)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHARE = 0.15


def hide_words(
    ids: Tensor, mask: Tensor, *, mask_id: int, share: float = SHARE, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Replace a share of the real tokens by [MASK].

    Args:
        ids: (batch, tokens) integer.
        mask: (batch, tokens), 1 at real tokens; padding is never hidden.
        mask_id: id of [MASK].
        share: of the real tokens, each hidden independently.
        generator: of the choice.

    Returns:
        The ids with words hidden, and (batch, tokens) bool, True where one was.
    """
    hidden = (torch.rand(ids.shape, generator=generator) < share) & mask.bool()
    return torch.where(hidden, mask_id, ids), hidden


class WordHead(nn.Module):
    """Predicts hidden words: projects token states onto the encoder's own word table.

    Args:
        width: of the states.
        vocab_size: words to choose from.
    """

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """(words, width) states and the (vocab, width) word table to (words, vocab) logits."""
        logits: Tensor = self.norm(F.gelu(self.dense(states))) @ table.T + self.bias
        return logits


def word_loss(states: Tensor, hidden: Tensor, ids: Tensor, head: WordHead, table: Tensor) -> Tensor:
    """Cross entropy at the hidden places; 0 when none is hidden.

    Args:
        states: (batch, tokens, width) of the text with words hidden.
        hidden: (batch, tokens) bool.
        ids: (batch, tokens), what stood there.
        head: see `WordHead`.
        table: (vocab, width), the encoder's word embeddings.
    """
    if not bool(hidden.any()):
        return states.sum() * 0.0
    return F.cross_entropy(head(states[hidden], table).float(), ids[hidden].long())
