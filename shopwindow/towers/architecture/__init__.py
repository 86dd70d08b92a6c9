"""The layers, the two towers, checkpoints, and the conversion of Hugging Face models."""
