"""`make bench-index`: recipes at millions of vectors."""
