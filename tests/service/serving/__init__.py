"""Tests of the web server, of the model and its state, and of who is let in."""
