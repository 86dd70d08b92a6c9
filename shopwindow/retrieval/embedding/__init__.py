"""Words and photos to vectors, by the exported towers."""
