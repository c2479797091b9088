"""Tests of the folder contract."""
