"""Everything that can go wrong, each with its HTTP status.

ServiceError
├── BadRequest              400  the body is not JSON
├── InvalidKey              401  no API key, or one that is not known
├── UnknownConversation     404  no conversation has that id
├── PayloadTooLarge         413  body or prompt over its limit
├── InvalidPrompt           422  JSON, but not a request that can be answered
├── KeyReused               422  an Idempotency-Key that came with another message before
├── TooManyRequests         429  a client over its limit
├── Cancelled               499  the client went away; nobody reads it
├── EngineFault             500  the model failed
├── NotReady                503  the model still loads
│   └── EngineStopped       503  the engine has died
├── Overloaded              503  the queue is full
├── DeadlineExceeded        504  no reply in time
├── UnsupportedSetting      422  a generation setting that the engine does not do
├── ConfigurationError           a wrong flag or environment value (exit code 2)
└── ModelFolderError             a model folder that is missing or damaged (exit code 1)
"""

from __future__ import annotations


class ServiceError(Exception):
    """An error whose message is one sentence for the user.

    Attributes:
        status: HTTP status.
        code: short machine-readable name.
        retry_after_s: seconds after which a retry makes sense; None when it makes none.
    """

    status = 500
    code = "internal_error"
    retry_after_s: int | None = None

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class BadRequest(ServiceError):
    status = 400
    code = "bad_request"


class InvalidKey(ServiceError):
    status = 401
    code = "invalid_api_key"


class UnknownConversation(ServiceError):
    status = 404
    code = "unknown_conversation"


class PayloadTooLarge(ServiceError):
    status = 413
    code = "payload_too_large"


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


class DeadlineExceeded(ServiceError):
    status = 504
    code = "deadline_exceeded"


class UnsupportedSetting(ServiceError):
    status = 422
    code = "unsupported_setting"


class ConfigurationError(ServiceError):
    code = "configuration_error"


class ModelFolderError(ServiceError):
    code = "model_folder_error"
