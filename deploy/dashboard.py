"""A Ray cluster, seen from its head through Ray's own interface."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import ray
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from ray.exceptions import AuthenticationError

from deploy import state
from service.errors import ConfigurationError


class Dashboard:
    """See `deploy.rollout.Cluster`."""

    def __init__(self, address: str) -> None:
        """
        Raises:
            ConfigurationError: no head answers there.
        """
        try:
            ray.init(address="auto", logging_level=logging.WARNING, log_to_driver=False)
            self._client = ServeSubmissionClient(address)
        except (ConnectionError, RuntimeError, AuthenticationError) as error:
            raise ConfigurationError(
                f"No head of a cluster answers at {address} ({_sentence(error)}); run this on the head, where "
                "make ray-head runs."
            ) from error

    @property
    def concern(self) -> str:
        return state.concern()

    def cores(self) -> Mapping[str, float]:
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        return {node["NodeManagerAddress"]: node["Resources"].get("CPU", 0.0) for node in nodes}

    def deploy(self, content: Mapping[str, Any]) -> None:
        try:
            self._client.deploy_applications(dict(content))
        except RuntimeError as error:
            raise ConfigurationError(f"Ray does not take the settings: {_sentence(error)}") from error

    def details(self) -> Mapping[str, Any]:
        return self._client.get_serve_details()


def _sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
