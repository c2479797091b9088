"""Finding a model on the Hub and downloading what an export needs of it."""

from __future__ import annotations

import fnmatch
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from export.errors import CheckpointError, HubUnreachable, first_line
from export.progress import Advance

DEADLINE_S = 9.0
POLL_S = 0.5
WEIGHT_PATTERNS = ("model*.safetensors", "pytorch_model*.bin")
LOCAL_FOLDER_ADVICE = "pass a local folder that holds the checkpoint instead: python -m export --model FOLDER"
GATED = "{} is gated; ask for access on its page on the Hub and set HF_TOKEN to a token of yours."


class Repository:
    """A model on the Hub at one revision.

    Attributes:
        weights: pattern of the files that hold its weights.
        weight_bytes: their size; None when the Hub does not say.
    """

    def __init__(self, model: str, revision: str | None) -> None:
        """
        Raises:
            HubUnreachable: no answer from the Hub within ten seconds.
            CheckpointError: there is no such model or revision, it is gated, or it holds no PyTorch weights.
        """
        self._model, self._revision = model, revision
        # None is the token of the environment or of `hf auth login`, False none at all.
        self._token: bool | None = None
        files = {file.rfilename: file.size for file in self._describe().siblings or () if "/" not in file.rfilename}
        found = [pattern for pattern in WEIGHT_PATTERNS if fnmatch.filter(files, pattern)]
        if not found:
            raise CheckpointError(
                f"{model} on the Hub holds no PyTorch weights (model.safetensors or pytorch_model.bin)."
            )
        self.weights = f"{found[0]}*"
        sizes = [files[name] for name in fnmatch.filter(files, self.weights)]
        self.weight_bytes = None if None in sizes else sum(filter(None, sizes))

    def download(self, patterns: Sequence[str], advance: Advance = lambda count: None) -> Path:
        """Fetch the files that match, told to `advance` as they grow, and return their folder, named after the commit.

        Raises:
            HubUnreachable: the download broke off.
            CheckpointError: the model is gated.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

        def fetch(wanted: Sequence[str]) -> Path:
            # By the name of the revision, not its commit: only so does the cache know the commit when the Hub is away.
            return Path(
                snapshot_download(self._model, revision=self._revision, allow_patterns=list(wanted), token=self._token)
            )

        try:
            with _watched(fetch([]).parent.parent / "blobs", advance):
                return fetch(patterns)
        except GatedRepoError as error:
            raise CheckpointError(GATED.format(self._model)) from error
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise HubUnreachable(
                f"The download of {self._model} broke off ({first_line(error)}); try again, or {LOCAL_FOLDER_ADVICE}"
            ) from error

    def _describe(self) -> Any:
        """What the Hub says of the model, within `DEADLINE_S` seconds whatever the network does."""
        from huggingface_hub import errors

        answers: list[Any] = []
        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
        if not offline:
            thread = threading.Thread(target=self._ask, args=(answers,), daemon=True)
            thread.start()
            thread.join(DEADLINE_S)
        found = answers[-1] if answers else None
        status = found.response.status_code if isinstance(found, errors.HfHubHTTPError) else None
        if isinstance(found, errors.HFValidationError):
            raise CheckpointError(f"{self._model} is neither a folder nor a Hub id (owner/name).") from found
        if isinstance(found, errors.RevisionNotFoundError):
            raise CheckpointError(f"{self._model} has no revision {self._revision} on the Hub.") from found
        if isinstance(found, errors.GatedRepoError):
            raise CheckpointError(GATED.format(self._model)) from found
        if self._token is False and isinstance(found, Exception):
            raise CheckpointError(
                "The Hub refuses your token (HF_TOKEN, or the one saved by hf auth login), and without one it shows no "
                f"{self._model}; renew or unset the token."
            ) from found
        if isinstance(found, errors.RepositoryNotFoundError):
            raise CheckpointError(f"There is no model {self._model} on the Hub and no such folder.") from found
        if found is None or isinstance(found, Exception):
            reason = f"answered {status}" if status else "is switched off" if offline else "cannot be reached"
            raise HubUnreachable(
                f"The Hub {reason}, so {self._model} cannot be downloaded; {LOCAL_FOLDER_ADVICE}"
            ) from found
        return found

    def _ask(self, answers: list[Any]) -> None:
        """Ask the Hub, and once more without a token when it refuses that; the answer or error is appended."""
        from huggingface_hub import HfApi, errors, get_token

        for token in (None, False):
            self._token = token
            try:
                answer: Any = HfApi().model_info(
                    self._model, revision=self._revision, timeout=DEADLINE_S, files_metadata=True, token=token
                )
            except Exception as error:
                status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
                refused = status in {401, 403} and not isinstance(error, errors.GatedRepoError)
                if token is None and get_token() and (refused or isinstance(error, ValueError)):
                    continue
                answer = error
            answers.append(answer)
            return


@contextmanager
def _watched(folder: Path, advance: Advance) -> Iterator[None]:
    """Report how the files of a folder grow while the block runs."""
    done = threading.Event()

    def watch() -> None:
        seen = None
        while not done.wait(POLL_S):
            with suppress(FileNotFoundError):  # a file is renamed when it is complete
                size = sum(path.stat().st_size for path in folder.glob("*"))
                advance(max(0, size - (size if seen is None else seen)))
                seen = max(size, seen or 0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
