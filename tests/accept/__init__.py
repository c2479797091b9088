"""Acceptance checks: the large counts and the measured targets, outside the everyday tests."""
