"""The options of pair mining, apart from it, so that `--help` can name their defaults in an instant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MiningRules:
    """What makes two products a pair.

    Attributes:
        min_queries: both clicked under at least so many queries.
        relevance: least relevance, 0 to 1.
        title_share: weight of the titles' word overlap in the relevance, 0 to 1; the click profiles have the rest.
        partners: at most so many pairs a product.
        broadest: queries with more clicked products than this count for nothing.

    Raises:
        ValueError: a value out of its range.
    """

    min_queries: int = 2
    relevance: float = 0.5
    title_share: float = 0.5
    partners: int = 10
    broadest: int = 50

    def __post_init__(self) -> None:
        for name, least in (("min_queries", 1), ("partners", 1), ("broadest", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: must be at least {least}, got {getattr(self, name)}")
        for name in ("relevance", "title_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: must be from 0 to 1, got {getattr(self, name)}")
