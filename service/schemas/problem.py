"""Errors outside of `/v1`, for clients that accept JSON (RFC 9457)."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """What went wrong."""

    type: str = "about:blank"
    title: str = Field(description="Short machine-readable name.")
    status: int
    detail: str = Field(description="One sentence that names what is wrong and what would be right.")
