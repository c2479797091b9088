"""The log: one format for everything that is said, and one line for each finished request."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

# What could end a line or steer a terminal.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
FIELDS = "fields"
FOREIGN = ("transformers", "optimum")
# Fields that the message says already.
STATED = frozenset({"method", "route", "status"})

logger = logging.getLogger(__name__)
requests = logging.getLogger("service.requests")


class RequestLog:
    """What the log will say about the request that a thread is answering.

    Attributes:
        request_id: stands in every line written meanwhile.
        fields: of the line that is written when the request is finished.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.fields: dict[str, Any] = {}


_current: ContextVar[RequestLog | None] = ContextVar("current", default=None)


def begin(request_id: str) -> RequestLog:
    """What this thread says belongs to this request, until it begins another one."""
    log = RequestLog(request_id)
    _current.set(log)
    return log


def note(**fields: Any) -> None:
    """Add to the line of the request that this thread is answering, if it is answering one."""
    current = _current.get()
    if current is not None:
        current.fields.update(fields)


def finished(request: RequestLog, message: str, **fields: Any) -> None:
    """Write the line of a finished request."""
    requests.info(message, extra={FIELDS: {**fields, **request.fields}})


class TextFormatter(logging.Formatter):
    """For people: time, level, message, and what else is known as `name=value`. Only a trace takes more lines."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [self.formatTime(record), record.levelname, _on_one_line(record.getMessage())]
        parts += [f"{name}={_on_one_line(str(value))}" for name, value in _fields(record).items() if name not in STATED]
        # Indented, so that nothing in a trace looks like the beginning of a line.
        trace = "".join(f"\n    {_on_one_line(line)}" for line in _trace(record).split("\n") if line)
        return " ".join(parts) + trace


class JSONFormatter(logging.Formatter):
    """For collectors: one JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        trace = _trace(record)
        if trace:
            content["exception"] = trace
        return json.dumps(content, default=str)


FORMATTERS: Mapping[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JSONFormatter}


def configure(log_format: str) -> None:
    """Send everything to stderr in one format: our own news, and warnings of the libraries and of Python.

    Args:
        log_format: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[log_format]())
    handler.addFilter(_mark)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("service").setLevel(logging.INFO)
    # It logs each request that waits for a thread; /metrics counts them.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    threading.excepthook = _log_thread


def complain(message: str, log_format: str = "text") -> None:
    """Say why the program ends: to collectors in the log, to people in plain lines."""
    if log_format == "json":
        logging.getLogger("service").error(message)
        return
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)


def adopt_libraries() -> None:
    """Take the handlers away that some libraries give themselves when they are imported."""
    for name in FOREIGN:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True


def _log_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and arguments.exc_type is not SystemExit:
        name = arguments.thread.name if arguments.thread else "a thread"
        error = (arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
        logger.critical("%s ended with an error", name, exc_info=error)


def _mark(record: logging.LogRecord) -> bool:
    """Give a line the id of the request that its thread is answering."""
    current = _current.get()
    record.request_id = current.request_id if current is not None else ""
    return True


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    request_id = getattr(record, "request_id", "")
    return {**({"request_id": request_id} if request_id else {}), **getattr(record, FIELDS, {})}


def _trace(record: logging.LogRecord) -> str:
    parts = [logging.Formatter().formatException(record.exc_info)] if record.exc_info else []
    return "\n".join([*parts, *([record.stack_info] if record.stack_info else [])])


def _on_one_line(text: str) -> str:
    return CONTROL_CHARACTERS.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
