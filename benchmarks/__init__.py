"""Measurements of exported Blenderbot models against the PyTorch path. The service never imports this package."""
