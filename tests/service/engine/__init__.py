"""Tests of the decoding engine."""
