"""Load, check and serve a published generation, and tell its publisher."""
