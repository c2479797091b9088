"""The chatbot service: an exported Blenderbot behind HTTP."""
