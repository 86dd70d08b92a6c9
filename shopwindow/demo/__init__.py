"""The program of `make demo`, and the checkpoint that it uses."""
