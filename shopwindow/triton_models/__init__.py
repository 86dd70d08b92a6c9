"""What the Python models share inside Triton: read, admit, answer, measure."""
