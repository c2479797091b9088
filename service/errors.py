"""Everything that can go wrong, each with its HTTP status.

ServiceError
├── BadRequest              400  the body is not JSON
├── InvalidField            400  a field of a `/v1` request that is missing, unknown or of a wrong value
│   ├── UnsupportedField    400  one that asks for what is not done here
│   └── ContextLengthExceeded 400  the newest message of a `/v1` request is over the limit of prompts
├── InvalidKey              401  no API key, or one that is not known
├── UnknownConversation     404  no conversation has that id
├── UnknownModel            404  no model of that name is served
├── ConversationChanged     409  another message of the conversation was answered first
├── NotTheLastExchange      409  what is to be replaced is not the last exchange of the conversation
├── ExchangeReplaced        409  a retry of a message whose exchange has been replaced since
├── PayloadTooLarge         413  body or prompt over its limit
├── UnsupportedEncoding     415  a compressed body
├── ForeignHost             421  a name in `Host` that is not ours
├── InvalidPrompt           422  JSON, but not a request that can be answered
├── KeyReused               422  an Idempotency-Key that came with another message before
├── TooManyRequests         429  a client over its limit
├── Cancelled               499  the client went away; nobody reads it
├── EngineFault             500  the model failed
├── NotReady                503  the model still loads
│   └── EngineStopped       503  the engine has died
├── Overloaded              503  the queue is full
├── StoreUnavailable        503  conversations cannot be read or stored
├── DeadlineExceeded        504  no reply in time
├── UnsupportedSetting      422  a generation setting that the engine does not do
└── ConfigurationError           a wrong flag or environment value (exit code 2), or one found wrong at the start (1)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from service.engine import errors as engine


class ServiceError(Exception):
    """An error whose message is one sentence for the user.

    Attributes:
        status: HTTP status.
        code: short machine-readable name.
        retry_after_s: seconds after which a retry makes sense; None when it makes none.
        param: the field of a `/v1` request that is wrong; None when it is none of them.
    """

    status = 500
    code = "internal_error"
    retry_after_s: int | None = None

    def __init__(self, message: str, *, retry_after_s: int | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class BadRequest(ServiceError):
    status = 400
    code = "bad_request"


class InvalidField(ServiceError):
    status = 400
    code = "invalid_value"


class UnsupportedField(InvalidField):
    code = "unsupported_value"


class ContextLengthExceeded(InvalidField):
    """As clients of OpenAI's API know it; elsewhere it is a `PayloadTooLarge`."""

    code = "context_length_exceeded"


class InvalidKey(ServiceError):
    status = 401
    code = "invalid_api_key"


class ForeignHost(ServiceError):
    status = 421
    code = "misdirected_request"


class UnknownConversation(ServiceError):
    status = 404
    code = "unknown_conversation"

    def __init__(self) -> None:
        super().__init__(
            "There is no conversation with that id (it may have expired); leave the id out to start a new one."
        )


class ConversationChanged(ServiceError):
    status = 409
    code = "conversation_changed"
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("Another message of this conversation was answered first; send this one again.")


class NotTheLastExchange(ServiceError):
    status = 409
    code = "not_the_last_exchange"

    def __init__(self, number: int, last: int) -> None:
        if last:
            super().__init__(
                f"Exchange {number} is not the last one of this conversation, which is {last}, and only that one can "
                "be replaced; read the conversation again."
            )
        else:
            super().__init__(f"This conversation has no exchange {number} to replace; leave out replace to begin it.")


class ExchangeReplaced(ServiceError):
    status = 409
    code = "exchange_replaced"

    def __init__(self) -> None:
        super().__init__(
            "This message was answered, and another exchange has taken its place since; read the conversation again."
        )


class UnknownModel(ServiceError):
    status = 404
    code = "model_not_found"


class PayloadTooLarge(ServiceError):
    status = 413
    code = "payload_too_large"


class UnsupportedEncoding(ServiceError):
    status = 415
    code = "unsupported_encoding"


class InvalidPrompt(ServiceError):
    status = 422
    code = "invalid_prompt"


class KeyReused(ServiceError):
    status = 422
    code = "idempotency_key_reused"


class TooManyRequests(ServiceError):
    status = 429
    code = "too_many_requests"


class Cancelled(ServiceError):
    status = 499
    code = "client_closed_request"


class EngineFault(ServiceError):
    status = 500
    code = "engine_fault"


class NotReady(ServiceError):
    status = 503
    code = "not_ready"
    retry_after_s = 5


class EngineStopped(NotReady):
    code = "engine_stopped"
    retry_after_s = 10


class Overloaded(ServiceError):
    status = 503
    code = "overloaded"
    retry_after_s = 5


class StoreUnavailable(ServiceError):
    status = 503
    code = "store_unavailable"
    retry_after_s = 5


class DeadlineExceeded(ServiceError):
    status = 504
    code = "deadline_exceeded"


class UnsupportedSetting(ServiceError):
    status = 422
    code = "unsupported_setting"


class ConfigurationError(ServiceError):
    code = "configuration_error"


_OF_ENGINE: Mapping[type[engine.EngineError], type[ServiceError]] = {
    engine.UnsupportedSetting: UnsupportedSetting,
    engine.Overloaded: Overloaded,
    engine.Cancelled: Cancelled,
    engine.DeadlineExceeded: DeadlineExceeded,
    engine.EngineFault: EngineFault,
    engine.EngineClosed: NotReady,
    engine.EngineStopped: EngineStopped,
}


@contextmanager
def engine_errors() -> Iterator[None]:
    """Raise the errors of the engine within the block as those of the service, each with its HTTP status."""
    try:
        yield
    except engine.EngineError as error:
        retry_after_s = error.retry_after_s if isinstance(error, engine.Overloaded) else None
        raise _OF_ENGINE[type(error)](str(error), retry_after_s=retry_after_s) from error.__cause__ or error
