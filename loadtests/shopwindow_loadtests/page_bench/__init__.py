"""`make bench-page`: what the parts of a result page cost, and the same page elsewhere."""
