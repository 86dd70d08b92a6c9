"""Subcommands on a running server."""
