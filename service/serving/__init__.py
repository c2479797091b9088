"""Serving: the web server, the model and its state, and who is let in."""
