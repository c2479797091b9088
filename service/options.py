"""How a setting is written on the command line and in the environment, and what is accepted."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import urlsplit

from service import echo, hub
from service.conversations.opening import DEFAULT_FILE, IN_MEMORY, REDIS_SCHEMES
from service.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Number = TypeVar("Number", int, float)
Value = TypeVar("Value")

OPTION = "option"

ENVIRONMENT_PREFIX = "CHATBOT_"
MAX_HELP_WIDTH = 100
# How alike a variable is to a setting that it is taken for, and how much of its name is shown.
MIN_LIKENESS = 0.85
MAX_NAME_CHARS = 40
ANY_ORIGIN = ("*",)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
DEFAULT_PORTS = {"http": 80, "https": 443}
KEY = re.compile(r"[\x21-\x7e]{16,512}")
KEY_RULE = "keys of 16 to 512 visible ASCII characters"
QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
BYTE_ORDER_MARK = "\ufeff"
# What Kubernetes, and containers that are linked, set for every service beside them.
LINK = re.compile(r"(tcp|udp|sctp)://\S+:\d+", re.IGNORECASE)
LINK_NAME = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)")


class Unusable(ValueError):
    """A value that cannot be meant; the message goes on where the setting's name ends."""


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


@dataclass(frozen=True)
class Program:
    """What `--help` says beside the flags.

    Attributes:
        command: starts it.
        description: what it does.
        examples: calls of it.
    """

    command: str
    description: str
    examples: Sequence[str]


def read_settings(
    program: Program,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    options: Mapping[str, Option],
) -> dict[str, object]:
    """The values that the command line or the environment name, the command line first; `--help` ends the program.

    Raises:
        ConfigurationError: flags or values are wrong; each line of the message names one and what it takes.
    """
    given = _read_arguments(program, arguments, options)
    return _values({name: (option.flag, given[name]) for name, option in options.items()}, environ, options)


def read_mapping(
    program: Program, settings: Mapping[str, object], environ: Mapping[str, str], options: Mapping[str, Option]
) -> dict[str, object]:
    """The values that a file names like the flags, without the dashes before them, or else the environment.

    Null asks for nothing; a list stands for its items where a setting takes several.

    Raises:
        ConfigurationError: names or values are wrong; each line of the message names one.
    """
    names = {option.flag.removeprefix("--"): name for name, option in options.items()}
    unknown = sorted(str(setting) for setting in settings if setting not in names)
    problems = [
        f"There is no setting {echo.name(setting)}; {program.command} --help lists them." for setting in unknown
    ]
    given: dict[str, tuple[str, str | None]] = {}
    for setting, name in names.items():
        try:
            given[name] = (setting, _written(settings.get(setting), options[name]))
        except Unusable as error:
            problems.append(f"{setting} {error}.")
    try:
        values = _values(given, environ, options)
    except ConfigurationError as error:
        problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return values


def plain(value: str) -> str:
    """A value as it stands.

    Raises:
        Unusable: it has marks around it that an editor or a file of variables left there.
    """
    value = value.strip()
    if value.startswith(BYTE_ORDER_MARK):
        raise Unusable("begins with a byte order mark; leave it out")
    if len(value) > 1 and QUOTES.get(value[0]) == value[-1]:
        raise Unusable("has quotes around it; leave them out")
    return value


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
    known = [option.variable for option in options.values()]
    for variable, value in sorted(environ.items()):
        if variable in known or service_link(variable, value):
            continue
        near = get_close_matches(variable.upper().replace("-", "_"), known, 1, MIN_LIKENESS)
        if near or variable.upper().startswith(ENVIRONMENT_PREFIX):
            meant = f"did you mean {near[0]}?" if near else "--help lists those that are."
            yield f"{variable[:MAX_NAME_CHARS]} is not a setting and has no effect; {meant}"


def _values(
    given: Mapping[str, tuple[str, str | None]], environ: Mapping[str, str], options: Mapping[str, Option]
) -> dict[str, object]:
    """The values of the settings that are given, each with the name by which it is, or that the environment names."""
    values: dict[str, object] = {}
    problems = []
    for name, option in options.items():
        for origin, value in (given.get(name, (name, None)), (option.variable, environ.get(option.variable))):
            if value is None or service_link(origin, value):
                continue
            try:
                values[name] = option.takes(plain(value))
            except Unusable as error:
                problems.append(f"{origin} {error}.")
            except ValueError as error:
                shown = "not right (it is not shown)" if option.secret else echo.value(value)
                problems.append(f"{origin} is {shown}; it takes {error}.")
            break
    if problems:
        raise ConfigurationError("\n".join(problems))
    return values


def _written(value: object, option: Option) -> str | None:
    """A value of a file as it would be written on the command line; None for none.

    Raises:
        Unusable: the setting cannot be of that type.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        if option.takes is not switch:
            raise Unusable("is true or false in the file; put quotes around a word that is meant as text")
        return "on" if value else "off"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        if option.takes not in SEVERAL:
            raise Unusable("is a list, and takes one value")
        if not all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in value):
            raise Unusable("is a list that holds something else than text")
        return ",".join(map(plain, map(str, value)))
    raise Unusable(f"is a {type(value).__name__}, and takes text or a number")


def _read_arguments(program: Program, arguments: Sequence[str], options: Mapping[str, Option]) -> dict[str, str | None]:
    given, unknown = _parser(program, options).parse_known_args(list(arguments))
    if unknown:
        raise ConfigurationError(
            f"There is no flag {' '.join(map(echo.flag, unknown))}; {program.command} --help lists the flags."
        )
    return vars(given)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message[:1].upper()}{message[1:]}; {self.prog} --help lists the flags.")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)
        self._width = min(self._width, MAX_HELP_WIDTH)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return [line for part in text.splitlines() for line in super(_Formatter, self)._split_lines(part, width)]


def _parser(program: Program, options: Mapping[str, Option]) -> argparse.ArgumentParser:
    examples = "\n".join(f"  {example}" for example in program.examples)
    parser = _Parser(
        prog=program.command,
        usage=f"{program.command} [flags]",
        allow_abbrev=False,
        formatter_class=_Formatter,
        description=program.description,
        epilog=(
            "A flag wins over the environment variable beside it, which wins over the default.\n\n"
            f"examples:\n{examples}"
        ),
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, option in options.items():
        group = groups.get(option.group) or groups.setdefault(option.group, parser.add_argument_group(option.group))
        described = f"{option.help}\n(default: {option.shown_default}; {option.variable})".replace("%", "%%")
        if option.takes is switch:
            group.add_argument(option.flag, dest=name, nargs="?", const="on", metavar="on|off", help=described)
        else:
            group.add_argument(option.flag, dest=name, metavar=option.metavar, help=described)
    return parser


def store(text: str) -> str:
    """Where conversations are kept: a word, a file, or the URL of a Redis server."""
    place = text.strip()
    if place.lower() in (IN_MEMORY, DEFAULT_FILE):
        return place.lower()
    scheme, separator, rest = place.partition(":")
    if separator and (rest.startswith("//") or scheme.lower() in {"redis", "rediss"}):
        place = f"{scheme.lower()}:{rest}"
        if not place.startswith(REDIS_SCHEMES):
            place = ""
    elif place:
        place = str(path(place))
    if not place:
        raise ValueError(f"{DEFAULT_FILE}, {IN_MEMORY}, the path of a file, or a URL such as redis://127.0.0.1:6379/0")
    return place


def text(value: str) -> str:
    if not value.strip():
        raise ValueError("a value that is not empty")
    return value.strip()


def path(value: str) -> Path:
    try:
        return Path(text(value)).expanduser()
    except RuntimeError:
        raise Unusable(f"is {value!r}, and there is no home folder here; name a path without ~") from None


def model(value: str) -> str:
    """A word, a Hub id or an address that stands for one, or a folder."""
    if value.startswith("~"):
        return str(path(value))
    try:
        return hub.read_name(text(value))
    except hub.NoModel as error:
        raise Unusable(f"is {value!r}, {error}") from error


def switch(value: str) -> bool:
    lowered = value.strip().lower()
    if lowered in {"on", "true", "yes", "1"}:
        return True
    if lowered in {"off", "false", "no", "0"}:
        return False
    raise ValueError("on or off")


def one_of(*names: str) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if value.strip().lower() not in names:
            raise ValueError(" or ".join(names))
        return value.strip().lower()

    return convert


def integer(low: int, high: int) -> Callable[[str], int]:
    return _between(int, low, high, f"a whole number from {low} to {high}")


def seconds(low: float, high: float) -> Callable[[str], float]:
    return _between(float, low, high, f"a number of seconds from {low:g} to {high:g}")


def networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    parts = list(_parts(value))
    try:
        return tuple(map(ip_network, parts))
    except ValueError:
        raise ValueError("addresses or networks such as 10.0.0.1,192.168.0.0/16") from None


def keys(value: str) -> tuple[str, ...]:
    distinct = tuple(dict.fromkeys(_parts(value)))
    if not distinct:
        raise ValueError(f"{KEY_RULE}, with commas between them, and is empty here")
    if not all(map(KEY.fullmatch, distinct)):
        raise ValueError(f"{KEY_RULE}, with commas between them")
    return distinct


def origins(value: str) -> tuple[str, ...]:
    """Origins as browsers name them: lower case, without the port that is the scheme's own."""
    if value.strip().lower() in {"any", "*"}:
        return ANY_ORIGIN
    if value.strip().lower() == "none":
        return ()
    distinct = tuple(dict.fromkeys(map(origin, _parts(value))))
    if not distinct or None in distinct:
        raise ValueError(
            "any, none, or origins such as https://page.example,http://localhost:3000 "
            "(scheme, host and port, no path and no *)"
        )
    return tuple(filter(None, distinct))


def origin(value: str) -> str | None:
    """An origin as browsers name it; None for what is none."""
    try:
        parts = urlsplit(value.lower())
        port = parts.port
    except ValueError:
        return None
    scheme, separator, host = value.lower().partition("://")
    name = host.removesuffix(f":{port}") if port is not None else host
    if not separator or not SCHEME.fullmatch(scheme) or not HOST.fullmatch(name) or port == 0:
        return None
    return f"{scheme}://{name}" if port in {None, DEFAULT_PORTS.get(scheme)} else f"{scheme}://{name}:{port}"


SEVERAL = frozenset[Callable[[str], object]]({networks, keys, origins})


def _parts(value: str) -> Iterable[str]:
    return filter(None, map(plain, value.split(",")))


def _between(read: Callable[[str], Number], low: Number, high: Number, expected: str) -> Callable[[str], Number]:
    def convert(value: str) -> Number:
        try:
            number = read(value)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= number <= high:
            raise ValueError(expected)
        return number

    return convert
