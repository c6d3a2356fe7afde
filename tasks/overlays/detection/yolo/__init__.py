"""Detection by a YOLO model in ONNX format."""
