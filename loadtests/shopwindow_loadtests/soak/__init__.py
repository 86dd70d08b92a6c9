"""`make soak`: swaps, updates and kills under load."""
