"""The cheap load generator, which writes the protocols byte by byte, and the reading of a server's CPU time."""
