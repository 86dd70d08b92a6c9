"""The register of articles."""

from __future__ import annotations

from demo.shop.article import Article
from demo.shop.articles_home import HOME
from demo.shop.articles_worn import WORN

__all__ = ["ARTICLES", "CATEGORIES", "Article"]

ARTICLES: dict[str, Article] = {article.name: article for article in (*WORN, *HOME)}
"""Article name -> article, in a fixed order."""

CATEGORIES: tuple[str, ...] = tuple(dict.fromkeys(article.category for article in (*WORN, *HOME)))
