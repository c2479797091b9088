"""The model that is served: found, loaded in the background, ready, and dead when its engine is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models import manifest
from models.folder import MODELS, ModelFolderError
from models.manifest import Manifest
from service import logs
from service.chat import never_say
from service.chat.chatbot import Chatbot
from service.chat.phrases import Phrases
from service.engine.errors import EngineError
from service.engine.kernels.library import Kernels
from service.errors import EngineStopped, NotReady, ServiceError
from service.metrics import Metrics
from service.serving.provision import Provider, ProvisionCancelled
from service.settings import ServiceConfig

logger = logging.getLogger(__name__)

DEAD = "The engine has stopped; the service must be started again."


@dataclass(frozen=True)
class ServedModel:
    """A model that is ready to answer.

    Attributes:
        folder: where it was loaded from.
        manifest: what it was made from.
        reason: why this model is served and not the one asked for; empty when it is that one.
        kernels: what multiplies.
        chatbot: answers messages with it.
    """

    folder: Path
    manifest: Manifest
    reason: str
    kernels: Kernels
    chatbot: Chatbot

    @property
    def notice(self) -> str:
        """A warning for its users; empty for none."""
        return " ".join(filter(None, (self.manifest.notice, self.reason)))


class ModelHost:
    """Loads a model and says whether it can answer.

    Attributes:
        on_failure: called with one sentence when the engine has died.
    """

    def __init__(self, config: ServiceConfig, metrics: Metrics, model: ServedModel | None = None) -> None:
        """
        Args:
            config: settings of the service.
            metrics: where the served model is noted.
            model: one that is loaded already; without it, `load` finds and loads the configured one.

        Raises:
            ConfigurationError: the list of what must not be said cannot be read.
        """
        self._config = config
        self._metrics = metrics
        self._never_say = Phrases(never_say.read(config.never_say)) if config.never_say else None
        self._provider = Provider(self._announce, config.models_dir or MODELS, quiet=config.log_format == "json")
        self._model = model
        self._state = "The model is being loaded." if model is None else "Ready."
        self._closing = False
        self.on_failure: Callable[[str], None] = lambda _: None
        if model is not None:
            metrics.serves(model.manifest, model.kernels)

    @property
    def model(self) -> ServedModel:
        """The model served.

        Raises:
            NotReady: it is still loading, or the service shuts down.
            EngineStopped: its engine has died.
        """
        if self._closing:
            raise NotReady("The service is shutting down; try again in a moment.")
        if self._model is None:
            raise NotReady(f"{self._state} Try again in a few seconds.")
        if not self._model.chatbot.engine.alive:
            raise EngineStopped(DEAD)
        return self._model

    @property
    def state(self) -> str:
        """One sentence that says what the service is doing."""
        if self._closing:
            return "The service is shutting down."
        if self._model is not None and not self._model.chatbot.engine.alive:
            return DEAD
        return self._state

    @property
    def retry_after_s(self) -> int:
        """Seconds after which a refused message should come again."""
        return 1 if self._model is None else self._model.chatbot.engine.retry_after_s

    def engine_gauge(self, name: str) -> float:
        """A figure of the engine, by the name of its attribute; 0 while there is none."""
        return 0.0 if self._model is None else float(getattr(self._model.chatbot.engine, name))

    def load(self) -> None:
        """Find, check and load the model; meant for a thread of its own.

        Raises:
            ModelFolderError: there is no model that can be served, or it is damaged.
            EngineError: it asks for what the engine does not do.
            ServiceError: it cannot be served with these settings.
        """
        self.serve(*self._provider.provide(self._config.model))

    def load_in_background(self, on_failure: Callable[[str], None]) -> None:
        """Run `load` in a thread and report its failure, or a later one of the engine, in one sentence."""
        self.on_failure = on_failure

        def work() -> None:
            try:
                self.load()
            except ProvisionCancelled:
                return
            except (ServiceError, EngineError, ModelFolderError) as error:
                on_failure(str(error))
            except Exception as error:
                logger.exception("the model could not be loaded")
                on_failure(f"The model could not be loaded ({type(error).__name__}: {error}).")

        threading.Thread(target=work, name="loader", daemon=True).start()

    def serve(self, folder: Path, reason: str) -> None:
        """Check and load an exported folder and answer with it from now on.

        Args:
            folder: to serve.
            reason: why this one and not the one asked for; empty when it is that one.
        """
        from transformers import AutoTokenizer

        from service.chat.prompt import PromptFormat
        from service.chat.vocabulary import ForbiddenPhrases, pieces
        from service.engine.chat_model import load
        from service.engine.engine import Engine

        logs.adopt_libraries()
        self._announce(f"The model {folder.name} is being loaded.")
        checked = manifest.check(folder)
        model = load(folder, threads=self._config.threads, kernels=self._config.kernels)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        prompt_format = PromptFormat(tokenizer, window=model.window)
        forbidden = None
        if self._never_say is not None:
            forbidden = ForbiddenPhrases(
                self._never_say, pieces(tokenizer, model.vocabulary), end=model.settings.eos_token_id
            )
        engine = Engine(
            model,
            queue_size=self._config.queue,
            max_rows=self._config.rows,
            reply_cache=self._config.reply_cache,
            forbidden=forbidden,
            on_death=lambda reason: self.on_failure(reason),
        )
        chatbot = Chatbot(engine, prompt_format, max_waiting=self._config.queue, never_say=self._never_say)
        self._model = ServedModel(folder, checked, reason, model.kernels, chatbot)
        self._metrics.serves(checked, model.kernels)
        self._announce(f"Ready: {checked.name} ({checked.quantization['precision']}).")
        logger.info(f"Kernels: {model.kernels.title}.")
        for line in filter(None, (reason, checked.notice)):
            logger.warning(line)

    def close(self) -> None:
        """Answer nothing new, and end an export that is under way."""
        self._closing = True
        self._provider.cancel()

    def _announce(self, state: str) -> None:
        self._state = state
        logger.info(state)
