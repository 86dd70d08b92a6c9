"""Export the towers as ONNX graphs in five precisions. The graph sets the precision; the runtime chooses nothing."""
