"""Both towers together."""

from __future__ import annotations

from torch import nn

from towers.config import TowerConfig
from towers.product_tower import ProductTower
from towers.query_tower import QueryTower


class Towers(nn.Module):
    """The query tower and the product tower, which share one embedding space and no weights.

    Args:
        config: sizes.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        self.query = QueryTower(config)
        self.product = ProductTower(config)
