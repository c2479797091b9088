"""The places where conversations can be kept."""
