"""Export of a checkpoint to one self-describing ONNX file."""
