"""How people name a model of the Hub: by its id, or by an address that they paste."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from models.folder import DEFAULT_MODEL

ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
HOSTS = frozenset({"huggingface.co", "hf.co"})
ADDRESS = re.compile(r"(?:[a-z]+://)?(?:[^/@]+@)?(?:www\.)?(?P<host>[\w.-]+)(?::\d+)?[/:](?P<path>.*)", re.IGNORECASE)
CACHED = re.compile(r"models--([\w.-]+)--([\w.-]+)")
NO_MODELS = frozenset({"api", "collections", "datasets", "docs", "models", "papers", "settings", "spaces"})
# Pages of a model that are of one revision.
REVISED = frozenset({"tree", "blob", "resolve", "raw", "commits", "commit"})
MAIN = "main"


class NoModel(ValueError):
    """A name that can be no model's; the message is a clause that says what to give instead."""


def read_name(text: str) -> str:
    """The id that an address of the Hub stands for; whatever else names a model as it is.

    Args:
        text: an id, an address of a model's page, files or repository with or without its scheme, or the name of a
            folder.

    Raises:
        NoModel: an address that is none of a model at its main revision.
    """
    if Path(text).exists():
        return text
    if match := CACHED.fullmatch(text.rstrip("/")):
        return f"{match[1]}/{match[2]}"
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() == "hf":
        return _id(rest)
    match = ADDRESS.fullmatch(text)
    if match and match["host"].lower() in HOSTS | _mirror():
        return _id(match["path"])
    if separator:
        raise NoModel(f"which is not the address of a model on the Hub; give an id such as {DEFAULT_MODEL}")
    if "@" in text or text.endswith("/"):
        return _id(text) if ID.match(text) and text.rstrip("/").count("/") == 1 else text
    return text


def _mirror() -> frozenset[str]:
    """The host that stands in for the Hub, if there is one."""
    return frozenset(filter(None, [urlsplit(os.environ.get("HF_ENDPOINT", "")).hostname]))


def _id(path: str) -> str:
    """The id at the beginning of a path of the Hub."""
    parts = [part for part in unquote(re.split(r"[?#]", path)[0]).split("/") if part]
    if parts[:2] == ["api", "models"]:
        parts = parts[2:]
    owner, name, *page = (*parts, "", "")[: max(2, len(parts))]
    name, at, revision = name.partition("@")
    name = name.removesuffix(".git")
    if owner in NO_MODELS or not ID.fullmatch(f"{owner}/{name}"):
        raise NoModel(f"which names no model of the Hub; give an id such as {DEFAULT_MODEL}")
    if page[:1] and page[0] in REVISED and page[1:]:
        at, revision = "@", page[1]
    if at and revision != MAIN:
        raise NoModel(
            f"which names the revision {revision}; export that one with python -m export --model {owner}/{name} "
            f"--revision {revision}, and serve the folder that it names"
        )
    return f"{owner}/{name}"
