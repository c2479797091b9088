"""The app of the well-known tutorial: torch fp32 `generate` in each request of Flask's threaded development server.

Two things differ from it. It keeps one history for all visitors, which is left out here, and the ids of the prompt are
used as they are: the real app fails once the history passes the 128 tokens that the model reads. And it answers with
bare text, where this one gives the counts of tokens as well.
"""

from __future__ import annotations

from benchmarks.serving.app import HOST, Chatbot, announce, create_app
from benchmarks.torch_backends import load_fp32


def serve(folder: str, beams: int, new_tokens: int, threads: int) -> None:
    """Serve until a signal ends it.

    Args:
        folder: a checkpoint that `BlenderbotForConditionalGeneration` loads.
        beams: beam width.
        new_tokens: tokens of each reply, `</s>` included.
        threads: processor threads of one call of the model; torch may run several at a time.
    """
    from flask_cors import CORS
    from transformers import AutoTokenizer
    from werkzeug.serving import make_server

    backend = load_fp32(folder, threads).backend
    chatbot = Chatbot(AutoTokenizer.from_pretrained(folder), lambda ids: backend.generate(ids, beams, new_tokens))
    app = create_app(chatbot)
    CORS(app)
    server = make_server(HOST, 0, app, threaded=True)
    announce(server.server_port)
    server.serve_forever()
