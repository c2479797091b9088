"""Finding a model on the Hub and downloading what an export needs of it."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

from huggingface_hub import HfApi, ModelInfo, constants, errors, get_token, snapshot_download
from huggingface_hub.file_download import repo_folder_name

from export.errors import CheckpointError, HubUnreachable, first_clause
from export.progress import Advance

DEADLINE_S = 9.0
POLL_S = 0.5
WEIGHT_PATTERNS = ("model*.safetensors", "pytorch_model*.bin")
LOCAL_FOLDER_ADVICE = "pass a local folder that holds the checkpoint instead: python -m export --model FOLDER"
GATED = "{} is gated; ask for access on its page on the Hub and set HF_TOKEN to a token of yours."


class Repository:
    """A model on the Hub at one revision."""

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
            raise CheckpointError(f"{model} on the Hub holds no PyTorch weights (model.safetensors or the like).")
        self.weights = f"{found[0]}*"  # pattern of the files that hold them
        sizes = [files[name] for name in fnmatch.filter(files, self.weights)]
        self.weight_bytes = None if None in sizes else sum(filter(None, sizes))  # None where the Hub does not say

    def download(self, patterns: Sequence[str], advance: Advance = lambda count: None) -> Path:
        """Fetch the files that match, told to `advance` as they grow, and return their folder, named after the commit.

        Raises:
            HubUnreachable: the download broke off.
            CheckpointError: the model is gated.
        """
        blobs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self._model, repo_type="model") / "blobs"
        seen = sum(path.stat().st_size for path in blobs.glob("*") if path.suffix != ".incomplete")
        # By the name of the revision, not its commit: only so does the cache know the commit when the Hub is away.
        settings = {"revision": self._revision, "allow_patterns": list(patterns), "token": self._token}
        try:
            with ThreadPool(1) as pool:
                fetched = pool.apply_async(snapshot_download, [self._model], settings)
                while not fetched.ready():
                    fetched.wait(POLL_S)
                    with suppress(FileNotFoundError):  # a file is renamed when it is complete
                        size = sum(path.stat().st_size for path in blobs.glob("*"))
                        advance(max(0, size - seen))
                        seen = max(seen, size)
                return Path(fetched.get())
        except errors.GatedRepoError as error:
            raise CheckpointError(GATED.format(self._model)) from error
        except OSError as error:
            raise HubUnreachable(
                f"The download of {self._model} broke off ({first_clause(error)}); try again, or {LOCAL_FOLDER_ADVICE}"
            ) from error

    def _describe(self) -> ModelInfo:
        """What the Hub says of the model, within `DEADLINE_S` seconds whatever the network does."""
        model = self._model
        try:
            with ThreadPool(1) as pool:
                return pool.apply_async(self._ask).get(DEADLINE_S)
        except errors.HFValidationError as error:
            raise CheckpointError(f"{model} is neither a folder nor a Hub id (owner/name).") from error
        except errors.RevisionNotFoundError as error:
            raise CheckpointError(f"{model} has no revision {self._revision} on the Hub.") from error
        except errors.GatedRepoError as error:
            raise CheckpointError(GATED.format(model)) from error
        except Exception as error:
            if self._token is False:
                raise CheckpointError(
                    "The Hub refuses your token (HF_TOKEN, or the one saved by hf auth login), and without one it "
                    f"shows no {model}; renew or unset the token."
                ) from error
            if isinstance(error, errors.RepositoryNotFoundError):
                raise CheckpointError(f"There is no model {model} on the Hub and no such folder.") from error
            status = f"answered {error.response.status_code}" if isinstance(error, errors.HfHubHTTPError) else ""
            reason = status or ("is switched off" if constants.HF_HUB_OFFLINE else "cannot be reached")
            raise HubUnreachable(f"The Hub {reason}, so {model} cannot be downloaded; {LOCAL_FOLDER_ADVICE}") from error

    def _ask(self) -> ModelInfo:
        """Ask the Hub, and once more without a token when it refuses that."""
        ask = partial(HfApi().model_info, self._model, revision=self._revision, timeout=DEADLINE_S, files_metadata=True)
        try:
            return ask()
        except (errors.HfHubHTTPError, ValueError) as error:  # the latter for what no token can be
            status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 401
            if isinstance(error, errors.GatedRepoError) or status not in {401, 403} or not get_token():
                raise
        self._token = False
        return ask(token=False)
