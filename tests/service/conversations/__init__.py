"""Tests of the places where conversations are kept."""
