"""A small Blenderbot that talks: its dialogues, training recipe and evaluation."""
