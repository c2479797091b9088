"""Clients that nobody here wrote, each at a pinned version in an environment of its own, and how they talk with us."""
