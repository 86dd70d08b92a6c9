"""Layers, towers, checkpoints, and towers from Hugging Face."""
