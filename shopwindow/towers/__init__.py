"""The query tower and the multimodal product tower in PyTorch: architecture, checkpoints, training, evaluation."""
