"""Both towers together."""

from __future__ import annotations

from torch import nn

from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.architecture.product_tower import ProductTower
from shopwindow.towers.architecture.query_tower import QueryTower


class Towers(nn.Module):
    """The query tower and the product tower, which share one embedding space.

    Their weights are their own (unless `share_text_encoder`), but both texts start from the same words and projection:
    a word that training saw too rarely to move still finds itself.

    Args:
        config: sizes.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        self.query = QueryTower(config)
        self.product = ProductTower(config)
        nn.init.zeros_(self.product.head.bias)  # it would hide the few values that a mean of words has
        self.query.text.tokens.load_state_dict(self.product.title.tokens.state_dict())
        self.query.head.load_state_dict(self.product.head.state_dict())
        if config.share_text_encoder:
            self.query.text = self.product.title
