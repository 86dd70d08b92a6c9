"""The `shopwindow` command: one file for each subcommand."""
