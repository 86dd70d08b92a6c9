"""Masked language modelling in the towers, on query and title tokens (the blog, see docs/models.md)."""

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
        mask: (batch, tokens), 1 at real tokens. Padding is never hidden.
        mask_id: id of [MASK].
        share: probability that a real token is hidden, independently of the others.
        generator: source of the random choice.

    Returns:
        The ids with the hidden tokens replaced, and (batch, tokens) bool, True where a token is hidden.
    """
    hidden = (torch.rand(ids.shape, generator=generator) < share) & mask.bool()
    return torch.where(hidden, mask_id, ids), hidden


class WordHead(nn.Module):
    """Predicts hidden words by projecting token states onto the word embeddings of the encoder.

    Args:
        width: width of the states.
        vocab_size: number of words to choose from.
    """

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """Return (words, vocab) logits for (words, width) states and the (vocab, width) word table."""
        logits: Tensor = self.norm(F.gelu(self.dense(states))) @ table.T + self.bias
        return logits


def word_loss(states: Tensor, hidden: Tensor, ids: Tensor, head: WordHead, table: Tensor) -> Tensor:
    """Return the mean cross entropy at the hidden places, a scalar; 0 if none is hidden.

    Args:
        states: (batch, tokens, width) states of the texts with hidden words.
        hidden: (batch, tokens) bool, True where a word is hidden.
        ids: (batch, tokens) original ids.
        head: predicts the words.
        table: (vocab, width) word embeddings of the encoder.
    """
    if not bool(hidden.any()):
        return states.sum() * 0.0
    return F.cross_entropy(head(states[hidden], table).float(), ids[hidden].long())
