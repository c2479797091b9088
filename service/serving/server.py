"""The WSGI server and its life: listen, serve, drain, stop."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time

from flask import Flask
from waitress.adjustments import Adjustments

from service.errors import ConfigurationError
from service.serving.admission import max_at_work
from service.serving.listener import CONNECTIONS, Listener, Threads, max_connections
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from service.signals import on_stop

logger = logging.getLogger(__name__)

# Where an application says of a path which kind of requests it is for, and of a request whether its body will be read.
KIND = "chatbot.kind"
READS_BODY = "chatbot.reads_body"
MESSAGES, HEALTH, OTHERS = "messages", "health", "others"
SPARE_THREADS = 16
HEALTH_THREADS = 2
# Each may hold a whole conversation for a moment.
OTHER_THREADS = 8
# What comes of a body in chunks, with the frames around them, for each byte that is wanted of it.
FRAMED = 4
FLUSH_TIMEOUT_S = 2.0
MAX_HEADER_BYTES = 32 * 1024


def listen(host: str, port: int) -> socket.socket:
    """Take the address before anything slow begins.

    Raises:
        ConfigurationError: it is in use, not allowed, or does not exist.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except UnicodeError as error:
        raise ConfigurationError(f"The address {host!r} is not a host name; choose another with --host.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"Port {port} on {host} is in use; stop the other program or choose another with --port."
        elif error.errno == errno.EACCES:
            reason = f"Port {port} needs more rights than this user has; choose one above 1023 with --port."
        else:
            # Resolver errors are negative; the text of the others names the address once more.
            cause = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
            reason = f"The address {host} cannot be listened on ({cause}); choose another with --host."
        raise ConfigurationError(reason) from error


class Server:
    """Serves an application until a signal or a failure ends it."""

    def __init__(self, app: Flask, runtime: Runtime, config: ServiceConfig, listener: socket.socket) -> None:
        self._runtime = runtime
        self._config = config
        self._ended = threading.Event()
        self._failure = ""
        threads = {
            MESSAGES: min(max_at_work(config) + SPARE_THREADS, CONNECTIONS),
            HEALTH: HEALTH_THREADS,
            OTHERS: OTHER_THREADS,
        }
        self._server = Listener(
            app,
            listener,
            Threads(threads, app.extensions[KIND]),
            Adjustments(
                sockets=[listener],
                max_request_body_size=FRAMED * config.max_body_bytes,
                max_request_header_size=MAX_HEADER_BYTES,
                asyncore_use_poll=True,
                ident=None,
                clear_untrusted_proxy_headers=False,
            ),
            connections=max_connections(sum(threads.values())),
            reads_body=app.extensions[READS_BODY],
            max_body_bytes=config.max_body_bytes,
        )

    def fail(self, reason: str) -> None:
        """End the service with exit code 1 and one line."""
        self._failure = reason
        self._ended.set()

    def run(self) -> int:
        """Serve until SIGTERM, SIGINT or a failure; returns the exit code.

        The first signal lets running replies finish while new requests get a 503; a second one ends at once.
        """
        on_stop(self._stop)
        threading.Thread(target=self._server.run, name="listener", daemon=True).start()
        self._ended.wait()
        if self._failure:
            logger.error(self._failure)
            self._runtime.drain(FLUSH_TIMEOUT_S)
            self._flush()
            return 1
        logger.info("Shutting down: running replies finish first.")
        finished = self._runtime.drain(self._config.drain_timeout_s)
        self._flush()
        if not finished:
            logger.error("Some replies did not finish within %g seconds.", self._config.drain_timeout_s)
        return 0 if finished and not self._failure else 1

    def _stop(self) -> None:
        if self._ended.is_set():
            os._exit(1)
        self._ended.set()

    def _flush(self) -> None:
        """Give finished replies the time to leave the process."""
        end = time.monotonic() + FLUSH_TIMEOUT_S
        while time.monotonic() < end:
            channels = list(self._server.active_channels.values())
            if not any(channel.requests or channel.total_outbufs_len for channel in channels):
                return
            time.sleep(0.02)
