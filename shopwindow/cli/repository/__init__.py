"""Subcommands on a model repository."""
