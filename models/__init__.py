"""Exported models, one folder each, and what everyone knows about such a folder."""
