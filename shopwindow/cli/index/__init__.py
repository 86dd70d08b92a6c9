"""Subcommands on an index."""
