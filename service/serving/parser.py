"""Requests that say one thing only, and whose body is taken in only where somebody will read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.utilities import BadRequest

SLASHES = re.compile("/{2,}")
# What may be asked for: a path, its address, or the service itself, without a fragment, which is for browsers alone.
TARGET = re.compile(rb"\S+ (/|https?://|\*(?=\s))[^\s#]*(\s|\Z)", re.IGNORECASE)
FOLDED = re.compile(rb"\n[ \t]")
CODINGS = re.compile(rb"\ntransfer-encoding:([^\r\n]*)", re.IGNORECASE)
# Of a body in chunks, what may stand between the chunks and after them, beside a part of what is in them: many small
# chunks are much work.
MAX_FRAMING_BYTES = 8 * 1024
FRAMING_SHARE = 0.25

# Asked with method, path and headers (in upper case, with underscores) whether the body will be read.
ReadsBody = Callable[[str, str, Mapping[str, str]], bool]


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses a request that tells its length, its host or its path in two ways, or in an unusual one: a proxy might
    understand another one than we do.

    Attributes:
        cut_off: whether the request is complete for us though its sender goes on with it.
    """

    body_rcv: Any
    chunked: bool
    completed: bool

    def __init__(self, adj: Any, *, max_body_bytes: int, reads_body: ReadsBody) -> None:
        """
        Args:
            adj: settings of waitress.
            max_body_bytes: bytes of the largest body.
            reads_body: whether the body of a request will be read; otherwise it is answered without it.
        """
        super().__init__(adj)
        self.cut_off = False
        self._max_body_bytes = max_body_bytes
        self._reads_body = reads_body
        self._chunked_bytes = 0

    @property
    def place(self) -> str:
        """The path as the application sees it; `/` for a broken request."""
        return SLASHES.sub("/", f"/{getattr(self, 'path', '')}")

    def parse_header(self, header_plus: bytes) -> None:
        if not TARGET.match(header_plus):
            raise ParsingError("The requested address is not valid")
        if FOLDED.search(header_plus):
            raise ParsingError("A header on several lines")
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("The requested address is not valid") from error
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding in one request")
        codings = [coding.strip(b" \t").lower() for coding in CODINGS.findall(header_plus)]
        if self.chunked and codings != [b"chunked"]:
            raise ParsingError("Transfer-Encoding is more than chunked")
        if "TRANSFER_ENCODING" in self.headers:
            raise ParsingError("Transfer-Encoding needs HTTP/1.1")
        if "," in self.headers.get("HOST", ""):
            raise ParsingError("More than one Host")
        self._read_lists()
        if self.body_rcv is not None and not self._takes_body():
            self.body_rcv, self.chunked, self.content_length = None, False, 0
            self._cut_off()

    def received(self, data: bytes) -> int:
        body = self.body_rcv
        consumed = int(super().received(data))
        if isinstance(body, ChunkedReceiver) and not self.completed:
            self._chunked_bytes += consumed
            if len(body) > self._max_body_bytes:
                self.headers["CONTENT_LENGTH"] = str(len(body))
                self.completed = True
            elif self._chunked_bytes > MAX_FRAMING_BYTES + (1 + FRAMING_SHARE) * len(body) + body.chunk_remainder:
                self.error = BadRequest("Too much between the chunks")
                self.completed = True
            if self.completed:
                self._cut_off()
        return consumed

    def _read_lists(self) -> None:
        """Take what is known of Connection and Expect, which are lists; waitress compares each as a whole."""
        options = self._members("CONNECTION")
        for option in ("close", "keep-alive"):
            if option in options:
                self.headers["CONNECTION"] = option
                break
        self.expect_continue = self.version == "1.1" and "100-continue" in self._members("EXPECT")

    def _members(self, header: str) -> set[str]:
        """The members of a header that is a list, in lower case."""
        return {member.strip(" \t").lower() for member in self.headers.get(header, "").split(",")}

    def _takes_body(self) -> bool:
        return self.content_length <= self._max_body_bytes and self._reads_body(self.command, self.place, self.headers)

    def _cut_off(self) -> None:
        self.cut_off = True
        self.expect_continue = False
        self.headers["CONNECTION"] = "close"
