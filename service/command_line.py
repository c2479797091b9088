"""Settings as they are given: on the command line, in the environment, or in a file that names them like the flags."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from service import echo
from service.errors import ConfigurationError
from service.options import Option, service_link
from service.values import SEVERAL, Unusable, plain, switch

MAX_HELP_WIDTH = 100


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
    words = _read_arguments(program, arguments, options)
    return _values({name: (option.flag, words[name]) for name, option in options.items()}, environ, options)


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
    texts: dict[str, tuple[str, str | None]] = {}
    for setting, name in names.items():
        try:
            texts[name] = (setting, _written(settings.get(setting), options[name]))
        except Unusable as error:
            problems.append(f"{setting} {error}.")
    try:
        values = _values(texts, environ, options)
    except ConfigurationError as error:
        problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return values


def _values(
    texts: Mapping[str, tuple[str, str | None]], environ: Mapping[str, str], options: Mapping[str, Option]
) -> dict[str, object]:
    """The values of settings by field: of its text, which comes with what it was called, or else of its variable."""
    values: dict[str, object] = {}
    problems = []
    for name, option in options.items():
        for origin, value in (texts.get(name, (name, None)), (option.variable, environ.get(option.variable))):
            if value is None or service_link(origin, value):
                continue
            try:
                values[name] = option.takes(plain(value))
            except Unusable as error:
                problems.append(f"{origin} {error}.")
            except ValueError as error:
                description = "not right (it is not shown)" if option.secret else echo.value(value)
                problems.append(f"{origin} is {description}; it takes {error}.")
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
    namespace, unknown = _parser(program, options).parse_known_args(list(arguments))
    if unknown:
        raise ConfigurationError(
            f"There is no flag {' '.join(map(echo.flag, unknown))}; {program.command} --help lists the flags."
        )
    return vars(namespace)


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
