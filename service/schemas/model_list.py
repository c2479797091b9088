"""Replies of `GET /v1/models`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Model(BaseModel):
    """The model served."""

    id: str = Field(description="Its name.")
    object: Literal["model"] = "model"
    created: int = Field(description="When it was exported, in seconds since 1970.")
    owned_by: str = Field(description="Hub id or folder that it was exported from.")
    precision: str = Field(description="Of its weights: none, int8 or int4.")
    notice: str = Field(description="What its users must be told; empty when there is nothing.")


class ModelList(BaseModel):
    """All models served: one."""

    object: Literal["list"] = "list"
    data: list[Model]
