"""The cheap load generator, byte by byte, and the reading of a server's CPU time."""
