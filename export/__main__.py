"""`python -m export`: convert a Blenderbot checkpoint to a quantised ONNX folder."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from export.config import ExportConfig, Quantization, default_output_dir
from export.errors import ExportError
from models.folder import DEFAULT_MODEL
from service import echo, hub
from service.engine import machine

MOMENT_S = 0.01


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; python -m export --help shows what there is.\n")


def _precision(text: str) -> str:
    if text not in set(Quantization):
        raise argparse.ArgumentTypeError(f"it is {echo.value(text)} and takes {', '.join(Quantization)}")
    return text


def parse(arguments: list[str]) -> ExportConfig:
    """Command line to configuration; a wrong argument ends the program with exit code 2."""
    parser = Parser(
        prog="python -m export",
        description="Convert a Blenderbot checkpoint to a quantised ONNX folder that the service and the stock "
        "ORTModelForSeq2SeqLM load.",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="Hub id or local folder (default: %(default)s)")
    parser.add_argument("--revision", help="branch, tag or commit on the Hub (default: the main branch)")
    parser.add_argument(
        "--quantization",
        type=_precision,
        metavar=f"{{{','.join(Quantization)}}}",
        default=Quantization.INT8.value,
        help="precision of the weights (default: int8)",
    )
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="folder to write (default: models/NAME-PRECISION)"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier export in that folder")
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare the tokens of a few replies with torch before the folder is put in place (default: on)",
    )
    parser.add_argument(
        "--check", action="store_true", help="only say whether the export could be made; no weights are downloaded"
    )
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"there is no flag {' '.join(map(echo.flag, unknown))}")
    if not options.model.strip():
        parser.error("--model is empty; name a Hub id or a local folder")
    try:
        model = hub.read_name(options.model)
    except hub.NoModel as error:
        parser.error(f"--model is {options.model!r}, {error}")
    quantization = Quantization(options.quantization)
    for flag, value in {"--model": options.model, "--output-dir": options.output_dir}.items():
        try:
            Path(value or "").expanduser()
        except RuntimeError:
            parser.error(f"there is no home folder for {value}; name a path without ~ with {flag}")
    output_dir = options.output_dir or default_output_dir(model, quantization)
    return ExportConfig(
        model=model,
        revision=options.revision,
        quantization=quantization,
        output_dir=output_dir.expanduser(),
        force=options.force,
        verify=options.verify,
        check=options.check,
    )


def main(arguments: list[str] | None = None) -> int:
    started = time.monotonic()
    config = parse(sys.argv[1:] if arguments is None else arguments)
    if complaint := machine.unsupported():
        print(f"error: {complaint}", file=sys.stderr)
        return 1
    # The last one is our own, for what had to wait a moment.
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    for number in signals:
        signal.signal(number, _interrupt)
    _quieten_libraries()
    try:
        from export.exporter import check, run, summary
        from export.progress import ConsoleProgress

        if config.check:
            check(config)
            return 0
        progress = ConsoleProgress()
        folder = run(config, progress)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"error: The export stopped: {error.strerror or error} ({error.filename or config.output_dir}).",
            file=sys.stderr,
        )
        return 1
    except MemoryError:
        print("error: The export ran out of memory; close other programs or use a larger machine.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        print("error: The export was interrupted; nothing was written.", file=sys.stderr)
        return 130
    progress.note(summary(folder, time.monotonic() - started))
    progress.note(f"Serve it with: python -m service --model {folder}")
    return 0


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """End the export, though not in the middle of a finaliser, which would swallow it: a moment later then."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            signal.setitimer(signal.ITIMER_REAL, MOMENT_S)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _quieten_libraries() -> None:
    """Keep the libraries' own chatter off the terminal (one of them reconfigures logging when it is imported), and
    torch to the threads that a quota allows."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if (cores := machine.cores()).reason:
        os.environ.setdefault("OMP_NUM_THREADS", str(cores.count))
    logging.basicConfig(level=logging.ERROR)
    import warnings

    warnings.simplefilter("ignore")


if __name__ == "__main__":
    sys.exit(main())
