"""`python -m export`: convert a Blenderbot checkpoint to a quantised ONNX folder."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

from export import interrupts
from export.config import ExportConfig
from export.errors import ExportError
from export.progress import SILENT, ConsoleProgress
from models.folder import DEFAULT_MODEL, PRECISIONS, folder_name
from service import echo, hub
from service.engine import machine


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; python -m export --help shows what there is.\n")


def _precision(text: str) -> str:
    if text not in PRECISIONS:
        raise argparse.ArgumentTypeError(f"it is {echo.value(text)} and takes {', '.join(PRECISIONS)}")
    return text


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"there is no home folder for {text}; name a path without ~") from error


def _model(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; name a Hub id or a local folder")
    _path(text)
    try:
        return hub.read_name(text)
    except hub.NoModel as error:
        raise argparse.ArgumentTypeError(f"it is {text!r}, {error}") from error


def parse(arguments: list[str]) -> ExportConfig:
    """Command line to configuration; a wrong argument ends the program with exit code 2."""
    parser = Parser(
        prog="python -m export",
        description="Convert a Blenderbot checkpoint to an ONNX folder for the service and for ORTModelForSeq2SeqLM.",
    )
    parser.add_argument("--model", type=_model, default=DEFAULT_MODEL, help="Hub id or folder (default: %(default)s)")
    parser.add_argument("--revision", help="branch, tag or commit on the Hub (default: the main branch)")
    precisions: Any = {"type": _precision, "metavar": f"{{{','.join(PRECISIONS)}}}", "default": "int8"}
    parser.add_argument("--quantization", help="precision of the weights (default: %(default)s)", **precisions)
    parser.add_argument("--output-dir", type=_path, metavar="DIR", help="folder (default: models/NAME-PRECISION)")
    parser.add_argument("--force", action="store_true", help="replace an earlier export in that folder")
    switch: Any = {"action": argparse.BooleanOptionalAction, "default": True}
    parser.add_argument("--verify", help="compare replies with those of torch at the end (default: on)", **switch)
    parser.add_argument("--check", action="store_true", help="only say whether it could be made; download no weights")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"there is no flag {' '.join(map(echo.flag, unknown))}")
    options.output_dir = options.output_dir or Path("models") / folder_name(options.model, options.quantization)
    return ExportConfig(**vars(options))


def run(config: ExportConfig, progress: ConsoleProgress) -> None:
    """Export a checkpoint, or only find out whether that could be done; what is slow to import comes last.

    Raises:
        ExportError: any of its kinds; nothing is left behind then.
    """
    if complaint := machine.unsupported():
        raise ExportError(complaint)
    from export import output
    from export.checkpoint import locate

    output.check_free(config.output_dir, force=config.force)
    checkpoint = locate(config.model, config.revision, weights=not config.check, progress=progress)
    with progress.stage("Read the checkpoint"):
        with interrupts.held() as came:  # torch aborts the process when a signal interrupts its import
            from export import exporter
        if came:
            raise KeyboardInterrupt
    exporter.export(checkpoint, config, progress)


def main(arguments: list[str] | None = None) -> int:
    config = parse(sys.argv[1:] if arguments is None else arguments)
    interrupts.listen()
    echo.spell_out()
    _quieten_libraries()
    try:
        run(config, SILENT if config.check else ConsoleProgress())
        return 0
    except ExportError as error:
        complaint = str(error)
    except OSError as error:
        complaint = f"The export stopped: {error.strerror or error} ({error.filename or config.output_dir})."
    except MemoryError:
        complaint = "The export ran out of memory; close other programs or use a larger machine."
    except KeyboardInterrupt:
        with interrupts.held():
            print("error: The export was interrupted; nothing was written.", file=sys.stderr, flush=True)
            os._exit(130)  # further signals must not disturb what is left to be done
    print(f"error: {complaint}", file=sys.stderr)
    return 1


def _quieten_libraries() -> None:
    """Keep their chatter off the terminal (one reconfigures logging), and torch to the threads that a quota allows."""
    quiet = {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "critical", "HF_HUB_VERBOSITY": "error"}
    os.environ |= {**quiet, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **os.environ}
    if (cores := machine.cores()).reason:
        os.environ.setdefault("OMP_NUM_THREADS", str(cores.count))
    logging.basicConfig(level=logging.ERROR)
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    sys.exit(main())
