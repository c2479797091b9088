"""What the parts of a running service share."""

from __future__ import annotations

from functools import partial

from service.conversations.conversation import SHARED, id_for_key
from service.conversations.opening import open_store
from service.conversations.store import Store
from service.errors import StoreUnavailable
from service.metrics import Metrics
from service.serving.admission import Admission
from service.serving.model_host import ModelHost, ServedModel
from service.settings import ServiceConfig


class Runtime:
    """The parts of a running service.

    Attributes:
        config: settings of the service.
        metrics: what operators watch.
        host: has the model.
        store: the conversations.
        admission: lets messages in.
        shared_conversation: id of the one that all share who name none, if the settings say so.
    """

    def __init__(self, config: ServiceConfig, model: ServedModel | None = None) -> None:
        """
        Args:
            config: settings of the service.
            model: one that is loaded already; without it, `host` is to load the configured one.

        Raises:
            ConfigurationError: the store of conversations cannot be opened, or the list of what must not be said.
        """
        self.config = config
        self.metrics = Metrics()
        self.host = ModelHost(config, self.metrics, model)
        self.store: Store = open_store(config.store, capacity=config.max_conversations, ttl_s=config.conversation_ttl_s)
        self.shared_conversation = id_for_key(SHARED, self.store.secret)
        self.admission = Admission(config, lambda: self.host.retry_after_s)
        self.metrics.watch("sessions", "Conversations kept.", self._conversations)
        for name, description, attribute in (
            ("queue_size", "Requests that wait for the engine.", "waiting"),
            ("batch_rows", "Rows that the next step computes.", "rows"),
            ("reply_cache_entries", "Replies kept for repeated questions.", "cached"),
        ):
            self.metrics.watch(name, description, partial(self.host.engine_gauge, attribute))

    def drain(self, timeout_s: float) -> bool:
        """Refuse new messages and wait for those at work; False when some still are after `timeout_s`."""
        self.host.close()
        return self.admission.wait_until_idle(timeout_s)

    def _conversations(self) -> float:
        try:
            return len(self.store)
        except StoreUnavailable:
            return float("nan")
