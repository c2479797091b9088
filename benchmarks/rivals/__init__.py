"""Other engines: how each converts a checkpoint, and how it answers. What an environment of its own needs is pinned in
the requirements file of the same name."""
