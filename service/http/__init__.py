"""The HTTP surface: one blueprint a file."""
