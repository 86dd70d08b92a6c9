"""Precisions of the towers' graphs. Precision lives in the graph: the runtime is told nothing and chooses nothing."""
