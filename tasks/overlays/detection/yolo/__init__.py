"""Detection by a YOLO model that was exported to ONNX."""
