"""Other people's ways to serve a checkpoint over HTTP, speaking the same `POST /chatbot`."""
