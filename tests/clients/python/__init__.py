"""Clients in Python, each run by the interpreter of its own environment: `python -m tests.clients.python.with_...`."""
