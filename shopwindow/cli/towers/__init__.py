"""Subcommands on towers: train, adapt, judge."""
