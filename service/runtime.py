"""The state of a running service: what it serves, and whether it can."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models import manifest
from models.folder import MODELS, ModelFolderError
from models.manifest import Manifest
from service import logs
from service.chat import never_say
from service.chat.chatbot import Chatbot
from service.chat.phrases import Phrases
from service.conversations.conversation import SHARED, opened_by
from service.conversations.opening import open_store
from service.conversations.store import Store
from service.engine.errors import EngineError
from service.engine.kernels.library import Kernels
from service.errors import EngineStopped, NotReady, Overloaded, ServiceError, StoreUnavailable
from service.metrics import Metrics
from service.provision import Provider, ProvisionCancelled
from service.settings import ServiceConfig

logger = logging.getLogger(__name__)

DEAD = "The engine has stopped; the service must be started again."


def most_at_work(config: ServiceConfig) -> int:
    """Messages that can be at work at once: those that run, those that wait, and as many behind one of their own."""
    return config.rows + 2 * config.queue


def places_for_others(config: ServiceConfig) -> int:
    """How many of those messages one client leaves to others at least."""
    return max(1, config.queue // 2)


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
        """What its users must be told; empty when there is nothing."""
        return " ".join(filter(None, (self.manifest.notice, self.reason)))


class Runtime:
    """Loads the model in the background and holds what the request handlers share.

    Attributes:
        config: settings of the service.
        store: the conversations.
        metrics: what operators watch.
        shared_conversation: id of the one that all share who name none, if the settings say so.
        on_failure: told in one sentence when the engine has died.
    """

    def __init__(self, config: ServiceConfig, model: ServedModel | None = None) -> None:
        """
        Args:
            config: settings of the service.
            model: one that is loaded already; without it, `load` finds and loads the configured one.

        Raises:
            ConfigurationError: the store of conversations cannot be opened, or the list of what must not be said.
        """
        self.config = config
        self._never_say = Phrases(never_say.read(config.never_say)) if config.never_say else None
        self.store: Store = open_store(config.store, capacity=config.max_conversations, ttl_s=config.conversation_ttl_s)
        self.shared_conversation = opened_by(SHARED, self.store.secret)
        self._model = model
        self._state = "The model is being loaded." if model is None else "Ready."
        self._provider = Provider(self._tell, config.models_dir or MODELS, quiet=config.log_format == "json")
        self.on_failure: Callable[[str], None] = lambda _: None
        self._draining = False
        self._running = Counter[str]()
        self._idle = threading.Condition()
        self.metrics = Metrics()
        self.metrics.watch("sessions", "Conversations kept.", self._conversations)
        self.metrics.watch("queue_size", "Requests that wait for the engine.", lambda: self._engine_gauge("waiting"))
        self.metrics.watch("batch_rows", "Rows that the next step computes.", lambda: self._engine_gauge("rows"))
        self.metrics.watch(
            "reply_cache_entries", "Replies kept for who asks the same.", lambda: self._engine_gauge("cached")
        )
        if model is not None:
            self.metrics.serves(model.manifest, model.kernels)

    @property
    def model(self) -> ServedModel:
        """The model served.

        Raises:
            NotReady: it is still loading, or the service shuts down.
            EngineStopped: its engine has died.
        """
        if self._draining:
            raise NotReady("The service is shutting down; try again in a moment.")
        if self._model is None:
            raise NotReady(f"{self._state} Try again in a few seconds.")
        if not self._model.chatbot.engine.alive:
            raise EngineStopped(DEAD)
        return self._model

    @property
    def state(self) -> str:
        """One sentence that says what the service is doing."""
        if self._draining:
            return "The service is shutting down."
        if self._model is not None and not self._model.chatbot.engine.alive:
            return DEAD
        return self._state

    def load(self) -> None:
        """Find, check and load the model; meant for a thread of its own.

        Raises:
            ModelFolderError: there is no model that can be served, or it is damaged.
            EngineError: it asks for what the engine does not do.
            ServiceError: it cannot be served with these settings.
        """
        self.serve(*self._provider.provide(self.config.model))

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
        """Check and load an exported folder and answer with it from now on."""
        from transformers import AutoTokenizer

        from service.chat.prompt import PromptFormat
        from service.chat.vocabulary import ForbiddenPhrases, pieces
        from service.engine.chat_model import load
        from service.engine.engine import Engine

        logs.adopt_libraries()
        self._tell(f"The model {folder.name} is being loaded.")
        checked = manifest.check(folder)
        model = load(folder, threads=self.config.threads, kernels=self.config.kernels)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        prompt_format = PromptFormat(tokenizer, window=model.window)
        forbidden = None
        if self._never_say is not None:
            forbidden = ForbiddenPhrases(
                self._never_say, pieces(tokenizer, model.vocabulary), end=model.settings.eos_token_id
            )
        engine = Engine(
            model,
            queue_size=self.config.queue,
            most_rows=self.config.rows,
            reply_cache=self.config.reply_cache,
            forbidden=forbidden,
            on_death=lambda why: self.on_failure(why),
        )
        self._model = ServedModel(
            folder,
            checked,
            reason,
            model.kernels,
            Chatbot(engine, prompt_format, longest_line=self.config.queue, never_say=self._never_say),
        )
        self.metrics.serves(checked, model.kernels)
        self._tell(f"Ready: {checked.name} ({checked.quantization['precision']}).")
        logger.info(f"Kernels: {model.kernels.title}.")
        for line in filter(None, (reason, checked.notice)):
            logger.warning(line)

    @contextmanager
    def at_work(self, client: str) -> Iterator[None]:
        """Count a request as running.

        Args:
            client: whose it is; places are kept free for others.

        Raises:
            Overloaded: more would take the threads that answer everything else.
        """
        with self._idle:
            most = most_at_work(self.config)
            free = most - self._running.total()
            if not free or self._running[client] >= most - places_for_others(self.config):
                seconds = 1 if self._model is None else self._model.chatbot.engine.retry_after_s
                raise Overloaded(
                    f"Too many requests are waiting; try again in {seconds} seconds.", retry_after_s=seconds
                )
            self._running[client] += 1
        try:
            yield
        finally:
            with self._idle:
                self._running[client] -= 1
                self._running += Counter()
                self._idle.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Refuse new requests and wait for the running ones; False when some still run after `timeout_s`."""
        self._draining = True
        self._provider.cancel()
        with self._idle:
            return self._idle.wait_for(lambda: not self._running, timeout_s)

    def _conversations(self) -> float:
        try:
            return len(self.store)
        except StoreUnavailable:
            return float("nan")

    def _engine_gauge(self, name: str) -> float:
        return 0.0 if self._model is None else float(getattr(self._model.chatbot.engine, name))

    def _tell(self, state: str) -> None:
        self._state = state
        logger.info(state)
