"""Models that the service can answer with, one folder each."""
