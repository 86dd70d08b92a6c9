"""Pieces of a page, each from arrays alone: boosted scores, the order of a sort, groups of products."""
