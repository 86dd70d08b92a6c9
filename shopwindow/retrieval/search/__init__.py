"""Find products for vectors and words: exact or by an engine, with merged channels and cached results."""
