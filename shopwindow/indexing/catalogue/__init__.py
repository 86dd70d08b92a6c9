"""Read the parquet rows of a catalogue, and decide which can be indexed."""
