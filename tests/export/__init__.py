"""Tests of the export: real checkpoints, real child processes."""
