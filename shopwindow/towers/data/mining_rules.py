"""The options of pair mining. They have a separate file so that `--help` shows their defaults without slow imports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MiningRules:
    """The rules that make two products a pair.

    Attributes:
        min_queries: least number of queries under which both products were clicked.
        relevance: least relevance, 0 to 1.
        title_share: weight of the word overlap of titles in the relevance, 0 to 1. The click profiles have the rest.
        partners: most pairs of a product.
        broadest: most clicked products of a query. Broader queries are ignored.

    Raises:
        ValueError: a value is out of range.
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
