"""The query tower: a separate text encoder, masked-mean pooling, projection, L2 norm.

MAKE has a separate text encoder. Our reading is that it encodes the queries.
"""

from __future__ import annotations

from torch import Tensor, nn

from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.architecture.layers import TextEncoder, masked_mean, unit


class QueryTower(nn.Module):
    """Turns the words of a query into an embedding.

    Args:
        config: sizes.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.text = TextEncoder(
            config.vocab_size,
            config.query_max_tokens,
            config.query_layers,
            config.hidden_size,
            config.heads,
            config.mlp_ratio,
            config.dropout,
        )
        self.head = nn.Linear(config.hidden_size, config.embedding_dim)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed.

        Args:
            input_ids: (batch, tokens) int32 or int64.
            attention_mask: (batch, tokens) int32, 1 at real tokens.

        Returns:
            (batch, embedding_dim) float32, L2-normalised.
        """
        mask = attention_mask.float()
        return unit(self.head(masked_mean(self.text(input_ids, mask), mask)))
