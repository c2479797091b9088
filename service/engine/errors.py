"""What can go wrong with a reply, each with one sentence for whoever asked for it.

EngineError
├── UnsupportedSetting   a generation setting that the engine does not do
├── Overloaded           too many requests wait
├── Cancelled            nobody wants the reply any more
├── DeadlineExceeded     no reply in time
├── EngineFault          the reply could not be computed
├── EngineClosed         the engine takes no more requests
└── EngineStopped        its thread has died
"""

from __future__ import annotations


class EngineError(Exception):
    """An error whose message is one sentence."""


class UnsupportedSetting(EngineError):
    pass


class Overloaded(EngineError):
    """
    Attributes:
        retry_after_s: seconds after which a request could be through.
    """

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Cancelled(EngineError):
    pass


class DeadlineExceeded(EngineError):
    pass


class EngineFault(EngineError):
    pass


class EngineClosed(EngineError):
    pass


class EngineStopped(EngineError):
    pass
