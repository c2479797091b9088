"""The engine: token ids in, token ids out. It knows nothing of text or HTTP."""
