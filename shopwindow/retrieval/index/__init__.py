"""What is on disk: index folders, generations, who serves which, BM25, how large it gets."""
