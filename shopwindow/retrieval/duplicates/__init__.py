"""Near-identical products in a whole index."""
