"""The `shopwindow` command: one file a subcommand."""
