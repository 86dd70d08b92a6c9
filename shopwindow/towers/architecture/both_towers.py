"""The query tower and the product tower in one module."""

from __future__ import annotations

from torch import nn

from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.architecture.product_tower import ProductTower
from shopwindow.towers.architecture.query_tower import QueryTower


class Towers(nn.Module):
    """The query tower and the product tower, which share one embedding space.

    Each tower has separate weights (unless `share_text_encoder`), but both text encoders start from the same word
    embeddings and the same projection. So a query finds titles with the same word even if training saw the word too
    rarely to move its embedding.

    Args:
        config: sizes.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        self.query = QueryTower(config)
        self.product = ProductTower(config)
        nn.init.zeros_(self.product.head.bias)  # a random bias would outweigh the small values of a mean of words
        self.query.text.tokens.load_state_dict(self.product.title.tokens.state_dict())
        self.query.head.load_state_dict(self.product.head.state_dict())
        if config.share_text_encoder:
            self.query.text = self.product.title
