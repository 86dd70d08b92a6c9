"""Basics that every other package may import: whole-folder writes, cores and memory, progress bar, skipped rows."""
