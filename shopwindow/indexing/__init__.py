"""A catalogue to a generation of an index."""
