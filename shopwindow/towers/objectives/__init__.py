"""The training objectives, each in a separate file."""
