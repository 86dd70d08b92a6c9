"""An index on disk: its folders and generations, which processes serve it, BM25, and how large it gets."""
