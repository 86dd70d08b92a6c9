"""Turn words and photos into vectors with the exported towers."""
