"""Errors under `/v1`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

ErrorType = Literal["invalid_request_error", "rate_limit_error", "server_error"]


class ErrorObject(BaseModel):
    """What went wrong."""

    message: str = Field(description="One sentence that names what is wrong and what would be right.")
    type: ErrorType
    param: str | None = Field(description="The field that is wrong, such as messages.0.content.")
    code: str | None = Field(description="Short machine-readable name.")


class ErrorBody(BaseModel):
    """Body of every error."""

    error: ErrorObject
