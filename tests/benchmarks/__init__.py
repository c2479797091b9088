"""Tests of the benchmarks: real subprocesses, a tiny model."""
