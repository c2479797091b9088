"""Conversations: turns of text, their history as token ids, and where they are kept."""
