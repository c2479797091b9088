"""Offline conversion of a Blenderbot checkpoint to a quantised ONNX folder. The service never imports this package."""
