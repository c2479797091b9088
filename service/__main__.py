"""`python -m service`: serve an exported model over HTTP."""

from __future__ import annotations

import logging
import os
import sys

from service.config import parse
from service.errors import ConfigurationError


def main(arguments: list[str] | None = None) -> int:
    try:
        config = parse(sys.argv[1:] if arguments is None else arguments)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("service").setLevel(logging.INFO)
    from service.app import create_app
    from service.runtime import Runtime
    from service.server import Server, listen

    try:
        listener = listen(config.host, config.port)
        runtime = Runtime(config)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    logging.getLogger("service").info("Conversations are kept in %s.", runtime.store.place)
    server = Server(create_app(runtime), runtime, config, listener)
    host, port = listener.getsockname()[:2]
    logging.getLogger("service").info("Listening on http://%s:%s", f"[{host}]" if ":" in host else host, port)
    runtime.load_in_background(server.fail)
    code = server.run()
    runtime.store.close()
    return code


if __name__ == "__main__":
    # Threads of the web server may still hold connections; everything that matters has been flushed by now.
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
