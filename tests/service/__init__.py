"""Tests of the service: the engine, the conversations, the HTTP surface and the running process."""
