"""What the OpenAPI document says of a route, beside its path and its methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

JSON, TEXT, EVENTS, HTML = "application/json", "text/plain", "text/event-stream", "text/html"

View = TypeVar("View", bound=Callable[..., object])


@dataclass(frozen=True)
class Events:
    """A stream of server-sent events.

    Attributes:
        data: what each event holds, by its name; `message` for one without a name.
        end: the last event's data, where it is a word; empty where it is not.
    """

    data: Mapping[str, type[BaseModel]]
    end: str = ""


@dataclass(frozen=True)
class Text:
    """A reply that is no object: text, a page, or another document."""

    schema: str = "string"


@dataclass(frozen=True)
class Reply:
    """One reply.

    Attributes:
        description: a sentence.
        content: by mimetype; an object is described by its model.
        headers: of the reply, each with a sentence.
        required_headers: those of them that are always there.
        links: operations that take the reply's `X-Session-Id` as their `session_id`.
    """

    description: str
    content: Mapping[str, type[BaseModel] | Events | Text] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    required_headers: Sequence[str] = ()
    links: Sequence[str] = ()


@dataclass(frozen=True)
class Parameter:
    """A parameter in `path`, `query` or `header`; `pattern` is what its whole text must match, None for anything."""

    name: str
    place: str
    description: str
    pattern: str | None = None


@dataclass(frozen=True)
class Operation:
    """One way to ask for something.

    Attributes:
        summary: a few words.
        reply: that of success.
        status: that of success.
        description: sentences.
        parameters: beside the body.
        body: the object that the request holds; None for none.
        errors: statuses that may come instead.
        not_ready: the object that comes with 503, where it is no error.
        is_open: whether it needs no API key.
    """

    summary: str
    reply: Reply
    status: int = 200
    description: str = ""
    parameters: Sequence[Parameter] = ()
    body: type[BaseModel] | None = None
    errors: Sequence[int] = ()
    not_ready: type[BaseModel] | None = None
    is_open: bool = False


def describe(operation: Operation) -> Callable[[View], View]:
    """Attach an operation to the function of a route, from which the document takes it."""

    def attach(view: View) -> View:
        view.operation = operation  # type: ignore[attr-defined]
        return view

    return attach


def operation_of(view: Any) -> Operation | None:
    """The operation of a route's function; None for a route that the document leaves out."""
    return getattr(view, "operation", None)
