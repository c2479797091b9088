"""Connections that cannot be held by those who send slowly, and requests that say one thing only."""

from __future__ import annotations

import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError

# Seconds for sending a request, and connections after which newcomers take the place of silent ones.
SENDING_TIMEOUT_S = 30.0
CROWD = 900


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses a request that tells its length in two ways: a proxy might see another end of it than we do."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("The address that is asked for is none") from error
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding in one request")
        if "TRANSFER_ENCODING" in self.headers:
            raise ParsingError("Transfer-Encoding needs HTTP/1.1")


class Connection(HTTPChannel):  # type: ignore[misc]
    """A connection that is closed when a request is not complete in time, or when newcomers need the place of the one
    that has been silent for longest.

    Bytes that trickle in do not prolong the time. Silence after a reply is another thing, for which waitress has a
    longer limit.
    """

    parser_class = Parser

    def __init__(self, server: Any, *arguments: Any, **named: Any) -> None:
        self._answered = False
        self._silent_since = time.monotonic()
        super().__init__(server, *arguments, **named)
        if len(server.active_channels) > CROWD:
            others = [channel for channel in server.active_channels.values() if channel.silent and channel is not self]
            if others:
                min(others, key=lambda channel: channel._silent_since).will_close = True

    @property
    def silent(self) -> bool:
        """Whether nothing is being answered on it."""
        return not self.requests and not self.total_outbufs_len

    @property
    def sending(self) -> bool:
        """Whether a request, the first one or one that has begun, is waited for and none is being answered."""
        return not self.requests and (self.request is not None or not self._answered)

    def readable(self) -> bool:
        """Asked by waitress before each wait for news, once a second at least."""
        self._answered = self._answered or bool(self.requests)
        if self.sending:
            if time.monotonic() - self._silent_since > SENDING_TIMEOUT_S:
                self.will_close = True
        elif not self.silent:
            self._silent_since = time.monotonic()
        return bool(super().readable())
