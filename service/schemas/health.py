"""Replies of the health checks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Alive(BaseModel):
    """The process lives."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Messages are answered."""

    status: Literal["ready"] = "ready"
    model: str = Field(description="Name of the model served.")
    notice: str = Field(description="What its users must be told; empty when there is nothing.")


class NotReadyYet(BaseModel):
    """Messages are refused for now."""

    status: Literal["not ready"] = "not ready"
    reason: str
