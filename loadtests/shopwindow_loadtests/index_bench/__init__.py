"""`make bench-index`: index recipes at millions of vectors."""
