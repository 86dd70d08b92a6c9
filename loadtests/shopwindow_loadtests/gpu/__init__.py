"""`make gpu-check`: measures what only a machine with a GPU can show, and writes it into docs/benchmarks.md."""
