"""Pieces of a page, each from arrays and columns alone: boosted scores, order, groups, diversity and counts."""
