"""Fixtures that the tests of the service have too."""

from __future__ import annotations

from tests.service.conftest import engine, faked, long_export, prompt_format, served, short_export

__all__ = ["engine", "faked", "long_export", "prompt_format", "served", "short_export"]
