"""Code that the Python models share inside Triton: read requests, admit them, answer them, measure."""
