"""Export a checkpoint for Triton: ONNX graphs, TensorRT plans, and a checked model repository."""
