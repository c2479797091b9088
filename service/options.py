"""How a setting is written on the command line and in the environment, and which variables look like one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from service import echo
from service.values import ANY_ORIGIN

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Value = TypeVar("Value")

OPTION = "option"
ENVIRONMENT_PREFIX = "CHATBOT_"
# How alike a variable is to a setting that it is taken for, and how much of its name is shown.
MIN_LIKENESS = 0.85
MAX_NAME_CHARS = 40
# What Kubernetes, and containers that are linked, set for every service beside them.
LINK = re.compile(r"(tcp|udp|sctp)://\S+:\d+", re.IGNORECASE)
LINK_NAME = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)")


@dataclass(frozen=True)
class Option:
    """How one setting is written.

    Attributes:
        group: under which heading `--help` shows it.
        flag: as it is written on the command line.
        help: what it does, without its default.
        takes: makes a value of the text; its ValueError says what the flag takes.
        metavar: stands for the value in `--help`.
        default: the value where nothing is said.
        default_text: the default in words, where the value says too little.
        secret: whether neither the text nor the value may be shown.
    """

    group: str
    flag: str
    help: str
    takes: Callable[[str], object]
    metavar: str
    default: object
    default_text: str = ""
    secret: bool = False

    @property
    def variable(self) -> str:
        """The flag's environment twin."""
        return ENVIRONMENT_PREFIX + self.flag.removeprefix("--").replace("-", "_").upper()

    @property
    def shown_default(self) -> str:
        """The default as people read it."""
        return self.default_text or self.shown(self.default)

    def shown(self, value: object) -> str:
        """A value as people read it."""
        if self.secret and isinstance(value, tuple) and value:
            return f"{len(value)} {'key' if len(value) == 1 else 'keys'}"
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, float):
            return f"{value:.15g}"
        if isinstance(value, tuple):
            return "any" if value == ANY_ORIGIN else ",".join(map(str, value)) or "none"
        return "none" if value is None else echo.public(str(value))


def setting(
    default: Value,
    group: str,
    flag: str,
    help: str,
    *,
    takes: Callable[[str], Value],
    metavar: str,
    default_text: str = "",
    secret: bool = False,
) -> Value:
    """A field of a dataclass of settings, with its `Option`; the arguments are those of the option."""
    option = Option(group, flag, help, takes, metavar, default, default_text, secret)
    return field(default=default, repr=not secret, metadata={OPTION: option})


def options_of(kind: type[DataclassInstance]) -> dict[str, Option]:
    """The options of a dataclass of settings, by the names of its fields."""
    return {field.name: field.metadata[OPTION] for field in fields(kind) if OPTION in field.metadata}


def tables(options: Mapping[str, Option]) -> str:
    """The options as tables in Markdown, one for each group."""
    parts = []
    for group, of_group in groupby(options.values(), key=lambda option: option.group):
        rows = [
            f"| `{option.flag}` | {option.shown_default} | {option.help} | `{option.variable}` |" for option in of_group
        ]
        head = ["| flag | default | what it sets | variable |", "| --- | --- | --- | --- |"]
        parts.append("\n".join(["", f"## {group[:1].upper()}{group[1:]}", "", *head, *rows, ""]))
    return "".join(parts)


def service_link(variable: str, value: str) -> bool:
    """Whether a variable was set to tell where a service is, as Kubernetes does for each service of a namespace."""
    return bool(LINK_NAME.fullmatch(variable) or (variable.endswith("_PORT") and LINK.fullmatch(value.strip())))


def linked(environ: Mapping[str, str], options: Mapping[str, Option]) -> Iterator[str]:
    """One sentence for each variable that is named like a setting and tells where a service is."""
    for option in options.values():
        if service_link(option.variable, environ.get(option.variable, "")):
            yield (
                f"{option.variable} tells where a service is, as Kubernetes sets it for each, and is not taken for a "
                f"setting; put enableServiceLinks: false into the pod's spec, or set {option.variable} there."
            )


def misspelt(environ: Mapping[str, str], options: Mapping[str, Option]) -> Iterator[str]:
    """One sentence for each variable that is no setting and looks as if it was meant as one."""
    variables = [option.variable for option in options.values()]
    for variable, value in sorted(environ.items()):
        if variable in variables or service_link(variable, value):
            continue
        similar = get_close_matches(variable.upper().replace("-", "_"), variables, 1, MIN_LIKENESS)
        if similar or variable.upper().startswith(ENVIRONMENT_PREFIX):
            advice = f"did you mean {similar[0]}?" if similar else "--help lists those that are."
            yield f"{variable[:MAX_NAME_CHARS]} is not a setting and has no effect; {advice}"
