"""Everything that runs in, around and before the server."""
