"""The query tower and the product tower in PyTorch: architecture, checkpoints, training, evaluation."""
