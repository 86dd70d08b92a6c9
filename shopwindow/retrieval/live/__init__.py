"""A published generation is loaded, checked and served, and its publisher is told."""
