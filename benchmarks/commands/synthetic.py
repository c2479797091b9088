"""`synthetic`: write a random-weight checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.commands import arguments
from benchmarks.synthetic import SHAPES, write_checkpoint

DESCRIPTION = """
Write a checkpoint in the exact shape of facebook/blenderbot-400M-distill (730 MB), -1B-distill (2.9 GB) or -3B (5.4 GB)
with random weights: good for speed and numeric fidelity, and for nothing else.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "synthetic", help="write a random-weight checkpoint of a Blenderbot's shape", description=DESCRIPTION
    )
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--shape", choices=[*SHAPES], default="400m", help="of which model (default: %(default)s)")
    parser.add_argument(
        "--seed", type=arguments.seed, default=0, metavar="N", help="of the weights (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="replace a checkpoint that is there already")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    shape = SHAPES[options.shape]
    write_checkpoint(
        options.output_dir, seed=options.seed, force=options.force, shape=shape, progress=arguments.progress
    )
    print(f"{options.output_dir}: random weights, for speed and numeric fidelity only")
