"""Training objectives, each a small function or module of its own."""
