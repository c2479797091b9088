"""The listening socket, and the threads that answer requests."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import time
from collections.abc import Callable
from heapq import nlargest
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from service.serving.connections import Connection
from service.serving.parser import ReadsBody

logger = logging.getLogger(__name__)

CONNECTIONS = 1000
MIN_CONNECTIONS = 16
# Share of the connections that may be open before newcomers take the places of those that have been silent longest.
CROWD = 0.9
ACCEPTED_AT_ONCE = 64
# What the kernel holds of an answer that is not read.
SEND_BUFFER = 64 * 1024
# Descriptors beside those of connections and threads: of the model, the store, the log.
OTHER_DESCRIPTORS = 64
PAUSE_S = 1.0
COMPLAINT_S = 60.0


class Threads:
    """Threads for each kind of request, so that none waits for requests of another kind. A dispatcher of waitress."""

    def __init__(self, kinds: dict[str, int], kind: Callable[[str], str]) -> None:
        """
        Args:
            kinds: threads of each kind.
            kind: of the requests for a path.
        """
        self._kind = kind
        self._dispatchers = {name: ThreadedTaskDispatcher() for name in kinds}
        for name, count in kinds.items():
            self._dispatchers[name].set_thread_count(count)

    def add_task(self, channel: HTTPChannel) -> None:
        self._dispatchers[self._kind(channel.requests[0].place)].add_task(channel)

    def shutdown(self, cancel_pending: bool = True, timeout: int = 5) -> None:
        for dispatcher in self._dispatchers.values():
            dispatcher.shutdown(cancel_pending, timeout)


class Listener(TcpWSGIServer):  # type: ignore[misc]
    """Takes connections as long as there are descriptors for them, and makes room for newcomers before that ends.

    Attributes:
        reads_body: whether the body of a request will be read.
        max_body_bytes: bytes of the largest body.
        connections: that may be open at once.
    """

    channel_class = Connection

    def __init__(
        self,
        application: Any,
        listening: socket.socket,
        threads: Threads,
        adjustments: Adjustments,
        *,
        connections: int,
        reads_body: ReadsBody,
        max_body_bytes: int,
    ) -> None:
        """
        Args:
            application: a WSGI application.
            listening: the socket.
            threads: answer the requests.
            adjustments: settings of waitress.
            connections: that may be open at once.
            reads_body: whether the body of a request will be read.
            max_body_bytes: bytes of the largest body.
        """
        self.reads_body = reads_body
        self.max_body_bytes = max_body_bytes
        self.connections = connections
        self._resumes = 0.0
        self._complains = 0.0
        # Connections inherit it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        address = (listening.family, listening.type, listening.proto, listening.getsockname())
        super().__init__(
            application, {}, True, listening, dispatcher=threads, adj=adjustments, sockinfo=address, bind_socket=False
        )

    def readable(self) -> bool:
        """Asked before each wait for news, once a second at least."""
        if time.monotonic() < self._resumes:
            return False
        # Those that give way are gone before anybody is taken.
        return self._free > 0 or any(channel.gives_way for channel in self.active_channels.values())

    def handle_accept(self) -> None:
        for _ in range(min(self._free, ACCEPTED_AT_ONCE)):
            if not self._take_one():
                break
        crowd = len(self.active_channels) - int(CROWD * self.connections)
        if crowd > 0:
            self._make_room(crowd)

    @property
    def _free(self) -> int:
        return self.connections - len(self.active_channels)

    def _take_one(self) -> bool:
        """Accept a connection; False when none was waiting."""
        try:
            accepted = self.accept()
        except OSError as error:
            self._complain(error)
            return False
        if accepted is None:
            return False
        connection, address = accepted
        # It may have gone already.
        with contextlib.suppress(OSError):
            self.set_socket_options(connection)
            self.channel_class(self, connection, address, self.adj, map=self._map)
        return True

    def _complain(self, error: OSError) -> None:
        """Make room, or take nobody for a while, since the next try would fail as well."""
        now = time.monotonic()
        if not self._make_room(ACCEPTED_AT_ONCE):
            self._resumes = now + PAUSE_S
        if now >= self._complains:
            self._complains = now + COMPLAINT_S
            logger.error("No further connection can be taken (%s); the longest silent ones are closed.", error.strerror)

    def _make_room(self, places: int) -> bool:
        """Have those closed that have been silent longest; False if there are none."""
        longest = nlargest(places, self.active_channels.values(), key=lambda channel: channel.waiting_s)
        silent = [connection for connection in longest if connection.waiting_s]
        for connection in silent:
            connection.gives_way = True
        return bool(silent)


def max_connections(threads: int) -> int:
    """Connections for which there are descriptors, once the soft limit of the process has been raised as far as needed.

    Args:
        threads: that may each hold one more descriptor.
    """
    import resource  # not on Windows

    others = threads + OTHER_DESCRIPTORS
    soft, hard = map(_number, resource.getrlimit(resource.RLIMIT_NOFILE))
    goal = min(CONNECTIONS + others, hard)
    if soft < goal:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(goal), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            soft = goal
    limit = int(max(MIN_CONNECTIONS, min(CONNECTIONS, soft - others)))
    if limit < CONNECTIONS:
        logger.warning(
            "At most %d connections are open at once, since the process may open only %d files (ulimit -n).",
            limit,
            int(soft),
        )
    return limit


def _number(limit: int) -> float:
    import resource  # not on Windows

    return math.inf if limit == resource.RLIM_INFINITY else limit
