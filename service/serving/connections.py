"""Connections that cannot be held by those who send slowly, or who do not read what they asked for."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from enum import Enum
from functools import partial
from io import BytesIO
from typing import Any

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.task import WSGITask

from service.departure import DOUBTFUL
from service.serving.parser import Parser

# Seconds for sending a request; for reading the next `MIN_READ_BYTES` bytes of an answer; between requests.
SENDING_TIMEOUT_S = 30.0
READING_TIMEOUT_S = 25.0
IDLE_TIMEOUT_S = 120.0
MIN_READ_BYTES = 16 * 1024
# How much is taken in while an answer is on its way, and how much is dropped of what will not be read.
MAX_AHEAD_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 4 * 1024 * 1024
# Bytes that may be on their way to the client when the next request is looked at.
MAX_UNREAD_BYTES = 4 * 1024
UNACKNOWLEDGED = struct.Struct("i")
# How the answer to a client over its limit begins, and for how long nothing more is read from its connection.
REFUSED = "429 "
REFUSAL_PAUSE_S = 0.5
# Sent to find out whether a client that has ended its side still reads: one that went away refuses it.
STILL_THERE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Answers above this size are sent from where they are, without a copy for each connection.
LARGE = 32 * 1024


class Phase(Enum):
    """What a connection waits for."""

    SENDING = "its first request, or the rest of one"
    WORK = "an answer"
    READING = "its client to read the answer"
    IDLE = "another request"
    ENDING = "its client to end a request that has been answered already"


class Answer(WSGITask):  # type: ignore[misc]
    """An answer; one that refuses a client that asks too often makes the connection pause, so that it costs little."""

    def get_environment(self) -> dict[str, Any]:
        return dict(super().get_environment(), **{DOUBTFUL: self.channel.doubtful})

    def build_response_header(self) -> bytes:
        self.channel.begun = True
        if self.status.startswith(REFUSED):
            self.channel.pause(REFUSAL_PAUSE_S)
        return bytes(super().build_response_header())


class Connection(HTTPChannel):  # type: ignore[misc]
    """A connection on which one request is answered at a time, and that is closed when its client is too slow.

    The next request is looked at once the last answer has left, so that no thread waits for a client, and so that what
    is held for one that does not read is one answer. Bytes that trickle in do not prolong the time for a request; an
    answer must be read at a minimum rate. When the service has answered before a request was sent to its end, the rest
    is read and dropped, since an answer would be lost if the connection were closed at once.

    A client that ends its side may wait for its answers, or be gone: whatever is sent next tells. One of HTTP/1.0, to
    which nothing can be sent before the answer, counts as gone for work that can be stopped.

    Attributes:
        begun: whether the answer at hand is on its way.
        gives_way: whether it closes before the next wait for news.
    """

    task_class = Answer
    request: Any
    close_when_flushed: bool

    def __init__(self, server: Any, *arguments: Any, **named: Any) -> None:
        self.parser_class = partial(Parser, max_body_bytes=server.max_body_bytes, reads_body=server.reads_body)
        self._phase = Phase.SENDING
        self._since = time.monotonic()
        self._sent = 0
        self._received = 0
        self._ahead = b""
        self._answered = False
        self._cut_off = False
        self._discarded = 0
        self._resumes = 0.0
        # How much had been sent when the client ended its side.
        self._sent_at_end: int | None = None
        self.begun = False
        self.gives_way = False
        super().__init__(server, *arguments, **named)

    @property
    def waiting_s(self) -> float:
        """Seconds for which its client has kept us waiting; 0 while the client waits for us, and once it gives way."""
        return 0.0 if self._phase is Phase.WORK or self.gives_way else time.monotonic() - self._since

    def readable(self) -> bool:
        """Asked before each wait for news, once a second at least."""
        self._proceed()
        self._observe()
        if self.gives_way or self._overdue() or self._nobody_waits():
            self.handle_close()
            return False
        if self._phase is Phase.ENDING:
            return True
        return not (
            self.will_close
            or self.close_when_flushed
            or self.total_outbufs_len
            or self._cut_off
            or self._sent_at_end is not None
            or len(self._ahead) > MAX_AHEAD_BYTES
        )

    def writable(self) -> bool:
        # Once it is closed, its descriptor may belong to another connection.
        return self.connected and not self._pauses() and bool(super().writable())

    def pause(self, seconds: float) -> None:
        """Send nothing for a while; no thread waits for that."""
        self._resumes = time.monotonic() + seconds

    def handle_read(self) -> None:
        if self._owes_answers() and self._at_end():
            self._sent_at_end = self._sent
        else:
            super().handle_read()

    def check_client_disconnected(self) -> bool:
        """Asked again and again by the thread that works on the answer."""
        if not self.connected or self._sent_at_end is None:
            return not self.connected
        with self.outbuf_lock:
            if not self.begun and self._newer() and self.doubtful():
                self.write_soon(STILL_THERE)
        return self._refused() or not (self.begun or self._newer())

    def doubtful(self) -> bool:
        """Whether the client may have gone away, which would show if anything were sent."""
        return self._sent == self._sent_at_end

    def received(self, data: bytes) -> bool:
        if self._cut_off:
            self._discarded += len(data)
            if self._discarded > MAX_DISCARDED_BYTES:
                self.gives_way = True
            return False
        self._ahead += data
        self._proceed()
        return True

    def handle_write(self) -> None:
        if not (self._cut_off and self.close_when_flushed):
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if self.will_close:
            self.handle_close()
        elif not self.total_outbufs_len:
            self.close_when_flushed = False
            self._phase, self._since = Phase.ENDING, time.monotonic()
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes, do_close: bool = True) -> int:
        sent = int(super().send(data, do_close=do_close))
        self._sent += sent
        return sent

    def write_soon(self, data: Any) -> int:
        if isinstance(data, bytes) and len(data) > LARGE:
            whole = ReadOnlyFileBasedBuffer(BytesIO(data))
            whole.prepare()
            data = whole
        return int(super().write_soon(data))

    def _flush_some(self, do_close: bool = True) -> bool:
        return not self._pauses() and bool(super()._flush_some(do_close=do_close))

    def _pauses(self) -> bool:
        return time.monotonic() < self._resumes

    def _at_end(self) -> bool:
        """Whether all has been read that the client has sent, and it will send nothing more."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return False

    def _newer(self) -> bool:
        """Whether the client understands the interim answers of HTTP/1.1."""
        return any(request.version == "1.1" for request in self.requests[:1])

    def _refused(self) -> bool:
        """Whether the client's machine has refused what was sent."""
        watched = select.poll()
        try:
            watched.register(self.socket, 0)
        except (OSError, ValueError):
            return True
        return bool(watched.poll(0))

    def _nobody_waits(self) -> bool:
        """Whether a client that has ended its side has all its answers, or is gone."""
        if self._sent_at_end is None:
            return False
        return self._refused() or not self._owes_answers()

    def _owes_answers(self) -> bool:
        """Whether the client has asked for something that has not left yet."""
        return bool(self.requests or self._ahead or self.total_outbufs_len)

    def _in_kernel(self) -> int:
        """Bytes that were sent and that the client's machine has not taken yet."""
        # Neither is on Windows.
        from fcntl import ioctl
        from termios import TIOCOUTQ

        try:
            (waiting,) = UNACKNOWLEDGED.unpack(ioctl(self.socket.fileno(), TIOCOUTQ, bytes(UNACKNOWLEDGED.size)))
        except OSError:
            return 0
        return int(waiting)

    def _proceed(self) -> None:
        """Look at what has come, up to the end of one request, once nothing is left of the last answer."""
        with self.requests_lock:
            while self._ahead and not self._busy():
                if self.request is None:
                    # Blank lines before a request, which cost as much as one if they are taken for one each.
                    self._ahead = self._ahead.lstrip(b"\r\n")
                    if not self._ahead:
                        break
                self.request = self.request or self.parser_class(self.adj)
                self._ahead = self._ahead[self.request.received(self._ahead) :]
                request = self.request
                if request.completed:
                    self.request = None
                    self.sent_continue = False
                    if not request.empty:
                        self._answered = True
                        self.begun = False
                        self._cut_off = request.cut_off or request.error is not None
                        self.requests.append(request)
                        self.server.add_task(self)
                elif request.expect_continue and request.headers_finished and not self.sent_continue:
                    self.send_continue()

    def _busy(self) -> bool:
        """Whether the next request is not looked at yet, if ever."""
        over = self.will_close or self.close_when_flushed or self._cut_off
        return bool(over or self.requests or self.total_outbufs_len or self._in_kernel() > MAX_UNREAD_BYTES)

    def _observe(self) -> None:
        if self._phase is Phase.ENDING:
            return
        in_kernel = 0 if self.requests and not self.total_outbufs_len else self._in_kernel()
        if self.total_outbufs_len or in_kernel:
            phase = Phase.READING
        elif self.requests or self.close_when_flushed:
            phase = Phase.WORK
        elif self.request is not None or not self._answered:
            phase = Phase.SENDING
        else:
            phase = Phase.IDLE
        received = self._sent - in_kernel
        if phase is not self._phase or (phase is Phase.READING and received - self._received >= MIN_READ_BYTES):
            self._phase, self._since, self._received = phase, time.monotonic(), received

    def _overdue(self) -> bool:
        limits = {
            Phase.SENDING: SENDING_TIMEOUT_S,
            Phase.READING: READING_TIMEOUT_S,
            Phase.IDLE: IDLE_TIMEOUT_S,
            Phase.ENDING: SENDING_TIMEOUT_S,
        }
        return self._phase in limits and self.waiting_s > limits[self._phase]
