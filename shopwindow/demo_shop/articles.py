"""All articles of the shop."""

from __future__ import annotations

from shopwindow.demo_shop.article import Article
from shopwindow.demo_shop.articles_home import HOME
from shopwindow.demo_shop.articles_worn import WORN

__all__ = ["ARTICLES", "CATEGORIES", "Article"]

ARTICLES: dict[str, Article] = {article.name: article for article in (*WORN, *HOME)}
"""Article name -> article, in a fixed order."""

CATEGORIES: tuple[str, ...] = tuple(dict.fromkeys(article.category for article in (*WORN, *HOME)))
