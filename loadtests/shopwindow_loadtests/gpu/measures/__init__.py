"""The measurements of `make gpu-check`, one in each file."""
