"""How the libraries are set up that a serving process imports later."""

from __future__ import annotations

import os


def configure() -> None:
    """To be called before transformers is imported; what the environment says already stays.

    Of transformers, a service needs the tokenizer and the configurations. It would import torch where torch is
    installed, which takes most of the time of a start and a quarter of a gigabyte.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("USE_TORCH", "0")
    # Otherwise transformers warns that there is no torch.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


def child_environment() -> dict[str, str]:
    """Of a child process that needs torch."""
    return os.environ | {"USE_TORCH": "1"}
