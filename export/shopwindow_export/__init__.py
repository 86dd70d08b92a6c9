"""From a checkpoint to what Triton serves: ONNX graphs, a rendered model repository, and an index of the catalogue."""
