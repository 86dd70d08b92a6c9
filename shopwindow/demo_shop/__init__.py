"""A made-up shop: drawn products, queries with answers, clicks and same-style pairs."""

from __future__ import annotations

from shopwindow.demo_shop.contact_sheet import contact_sheet
from shopwindow.demo_shop.generate import MIN_PRODUCTS, ShopSummary, generate

__all__ = ["MIN_PRODUCTS", "ShopSummary", "contact_sheet", "generate"]
