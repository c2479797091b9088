"""Operators of our own for ONNX Runtime: products, and attention over the cache, close to what the processor can do."""
