"""Columns that are made from what a file holds: from its path, and by `CatalogOptions`."""
