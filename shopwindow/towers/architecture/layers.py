"""Transformer blocks with explicit attention.

`scaled_dot_product_attention` exports to twice as many ONNX layers. Written out, the attention exports to a graph that
TensorRT can fuse. Masks add -1e4 and not -inf: half precision can hold it, and a softmax over masked tokens alone gives
no NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MASKED = -1e4


class Block(nn.Module):
    """A pre-norm transformer block.

    Args:
        width: hidden size.
        heads: attention heads.
        mlp_ratio: width of the feed-forward part, as a multiple of `width`.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, int(width * mlp_ratio))
        self.mlp_out = nn.Linear(int(width * mlp_ratio), width)
        # A new block changes nothing. So a text starts as the mean of its words and a photo as the mean of its
        # patches. These means already retrieve well, and the blocks learn to improve on them.
        for last in (self.project, self.mlp_out):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, states: Tensor, bias: Tensor) -> Tensor:
        """Run the block.

        Args:
            states: (batch, tokens, width).
            bias: (batch, 1, 1, tokens) float32, added to the attention logits.

        Returns:
            (batch, tokens, width).
        """
        states = states + self._attend(self.norm_attention(states), bias)
        widened: Tensor = self.mlp_out(F.gelu(self.mlp_in(self.norm_mlp(states))))
        return states + widened

    def _attend(self, states: Tensor, bias: Tensor) -> Tensor:
        batch, tokens, width = states.shape
        qkv = self.qkv(states).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [batch, heads, tokens, width / heads]
        logits = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5 + bias
        # The bias is float32, so the softmax is float32 too, even if the states are in half precision.
        mixed = torch.softmax(logits, dim=-1).to(value.dtype) @ value
        projected: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return projected


class Encoder(nn.Module):
    """A stack of blocks. Arguments as `Block`, `layers` of them.

    There is no norm at the end, because the length of a word's state decides how much the word counts in the mean.
    """

    def __init__(self, layers: int, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(layers))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Encode.

        Args:
            states: (batch, tokens, width).
            mask: (batch, tokens) float, 1 at real tokens.

        Returns:
            (batch, tokens, width).
        """
        bias = ((1.0 - mask) * MASKED)[:, None, None, :]
        for block in self.blocks:
            states = block(states, bias)
        return states


class TextEncoder(nn.Module):
    """Turns token ids into token states, with learned positions.

    Args:
        vocab_size: number of known tokens.
        max_tokens: size of the position table.
        layers, width, heads, mlp_ratio: as `Encoder`.
        dropout: share of the values of word embeddings that training sets to zero.
    """

    def __init__(
        self, vocab_size: int, max_tokens: int, layers: int, width: int, heads: int, mlp_ratio: float, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Parameter(torch.zeros(max_tokens, width))  # a new encoder ignores the order of words
        self.dropout = nn.Dropout(dropout)
        self.encoder = Encoder(layers, width, heads, mlp_ratio)
        nn.init.normal_(self.tokens.weight, std=0.5 * width**-0.5)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode.

        Args:
            ids: (batch, tokens) integer.
            mask: (batch, tokens) float, 1 at real tokens.

        Returns:
            (batch, tokens, width).
        """
        states = self.dropout(self.tokens(ids)) + self.positions[: ids.shape[1]]
        encoded: Tensor = self.encoder(states, mask)
        return encoded


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over real tokens, the pooling that the blog found best (see docs/models.md).

    Args:
        states: (batch, tokens, width).
        mask: (batch, tokens) float.

    Returns:
        (batch, width), zeros if a text has no real token.
    """
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0)


def unit(vectors: Tensor) -> Tensor:
    """L2-normalise (batch, dim) vectors and return float32. Norms below 1e-6 count as 1e-6."""
    vectors = vectors.float()
    return vectors / (vectors * vectors).sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
