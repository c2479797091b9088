"""`python -m service`: serve an exported model over HTTP."""

from __future__ import annotations

import logging
import os
import sys

from service import echo, libraries, logs
from service.engine import machine
from service.errors import ConfigurationError
from service.settings import ServiceConfig, parse

logger = logging.getLogger("service")


def main(arguments: list[str] | None = None) -> int:
    echo.spell_out()
    try:
        config = parse(sys.argv[1:] if arguments is None else arguments)
    except ConfigurationError as error:
        logs.complain(str(error))
        return 2
    if complaint := machine.unsupported():
        logs.complain(complaint, config.log_format)
        return 1
    libraries.configure()
    if config.check:
        from service.check import findings, report

        return report(findings(config))
    logs.configure(config.log_format)
    try:
        return _serve(config)
    except ConfigurationError as error:
        logs.complain(str(error), config.log_format)
        return 1


def _serve(config: ServiceConfig) -> int:
    from service import check
    from service.http import keys
    from service.http.app import create_app
    from service.serving.runtime import Runtime
    from service.serving.server import Server, listen

    listener = listen(config.host, config.port)
    runtime = Runtime(config)
    server = Server(create_app(runtime), runtime, config, listener)
    host, port = listener.getsockname()[:2]
    logger.info("Listening on http://%s:%s", f"[{host}]" if ":" in host else host, port)
    logger.info("Conversations are kept in %s.", runtime.store.place)
    for concern in (*keys.concerns(config, host), *runtime.store.concerns):
        logger.warning(concern)
    for finding in (*check.threads(config), *check.links(config), *check.variables(config)):
        logger.log(logging.WARNING if finding.kind is check.Kind.WARNING else logging.INFO, finding.sentence)
    runtime.host.load_in_background(server.fail)
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
