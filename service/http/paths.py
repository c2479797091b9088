"""Paths as clients write them: with slashes doubled, or below another base URL than ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from service.serving.parser import SLASHES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

OPENAI = "/v1"
# What clients of OpenAI's API add to their base URL, itself or with the name of one thing.
RESOURCE = (
    r"(?P<base>.*?)/(chat/completions|completions|responses|conversations|embeddings|models|moderations|files|batches"
    r"|(images|audio)/\w+)"
)
REQUESTS = [re.compile(rf"{RESOURCE}/?", re.DOTALL), re.compile(rf"{RESOURCE}/[^/]+/?", re.DOTALL)]


def merge_slashes(app: WSGIApplication) -> WSGIApplication:
    """An application that answers a path with doubled slashes as it answers the one without."""

    def merged(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["PATH_INFO"] = SLASHES.sub("/", environ.get("PATH_INFO", ""))
        return app(environ, start_response)

    return merged


def base_url(path: str) -> str | None:
    """The path of the base URL of a client of OpenAI's API, from what it asks for; None if that is nothing of it."""
    match = next(filter(None, (pattern.fullmatch(path) for pattern in REQUESTS)), None)
    return match["base"] if match else None


def below_openai(path: str) -> bool:
    """Whether a path is one of OpenAI's API here."""
    return f"{path}/".startswith(f"{OPENAI}/")


def meant_openai(path: str) -> bool:
    """Whether a path, where nothing is, was meant to be one of OpenAI's API."""
    return below_openai(path) or base_url(path) is not None


def advice(path: str) -> str:
    """What to do instead of asking for a path where nothing is."""
    if f"{path}/".startswith(f"{OPENAI}{OPENAI}/"):
        return f"{OPENAI} stands there twice, and the base URL of OpenAI's clients ends in one {OPENAI} here"
    if base_url(path) not in {None, OPENAI}:
        return f"the base URL of OpenAI's clients ends in {OPENAI} here"
    return f"chat with POST {OPENAI}/chat/completions" if below_openai(path) else "chat with POST /chatbot"
