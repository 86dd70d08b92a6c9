"""A whole catalogue embedded, indexed, measured and published; survives a kill."""
