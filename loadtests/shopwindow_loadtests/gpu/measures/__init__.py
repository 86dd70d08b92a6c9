"""What `make gpu-check` measures, one file a measurement."""
