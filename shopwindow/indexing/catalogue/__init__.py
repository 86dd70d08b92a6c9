"""Parquet rows read and judged."""
