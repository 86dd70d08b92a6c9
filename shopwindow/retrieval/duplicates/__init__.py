"""Find near-identical products in a whole index."""
