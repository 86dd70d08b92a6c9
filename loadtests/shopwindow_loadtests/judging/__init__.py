"""Samples to figures, limits, comparison, report."""
