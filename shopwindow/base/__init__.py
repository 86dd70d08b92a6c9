"""What all rooms stand on: whole-folder writes, cores and memory, progress bar, skipped rows."""
