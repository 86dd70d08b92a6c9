"""`make gpu-check`: what only a machine with a GPU can show, measured there and written into docs/benchmarks.md."""
