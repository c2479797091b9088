"""The service as a Ray Serve application: copies of the engine, each with the whole HTTP interface.

`serve run deploy.ray_app:app model=demo replicas=2` runs it on a cluster, `python -m deploy` on one machine.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Mapping
from typing import Any

from a2wsgi.asgi_typing import ASGIApp
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from deploy import state
from deploy.bridge import Bridge
from deploy.config import ReplicaConfig, from_mapping
from service import libraries, logs
from service.errors import ConfigurationError
from service.http import keys
from service.http.app import create_app
from service.metrics import Metrics
from service.serving.admission import max_at_work
from service.serving.provision import Provision
from service.serving.runtime import Runtime
from service.serving.server import SPARE_THREADS
from service.settings import ServiceConfig

logger = logging.getLogger("service")

NAME = "chatbot"
# Asked every 2 s, a replica must answer within 5 s; the third time that it does not, another takes its place.
HEALTH_CHECK_S = 2.0
HEALTH_CHECK_TIMEOUT_S = 5.0
FAREWELL_S = 1.0
UPSCALE_DELAY_S = 5.0
METRICS_PORTS = 100
# Ray's own news; those of the service have their own settings.
QUIET = {"log_level": "WARNING", "enable_access_log": False}
# Set by Ray's proxy, from the client or anew; the replica is told which.
ADDED_BY_RAY = frozenset({b"x-request-id"})


class Replica:
    """One copy: a process with its own engine. Ray sends it requests once it has been made, and until it is drained."""

    def __init__(self, config: ServiceConfig, metrics_port: int = 0, provision: Provision | None = None) -> None:
        """
        Args:
            config: settings of the service.
            metrics_port: first port to try for the metrics; 0 for none.
            provision: what to serve, found by who started Ray on this machine alone; on a cluster, the replica finds or
                makes the configured model itself.

        Raises:
            ServiceError: it cannot serve.
        """
        libraries.configure()
        logs.configure(config.log_format)
        self._runtime = Runtime(config)
        for concern in (*keys.concerns(config, config.host), *self._runtime.store.concerns):
            logger.warning(concern)
        self._runtime.host.on_failure = end_soon
        if provision is None:
            if concern := state.concern():
                logger.warning(concern)
            self._runtime.host.load()
        else:
            self._runtime.host.serve(*provision)
        if metrics_port:
            show_metrics(self._runtime.metrics, config.host, metrics_port)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        threads = max_at_work(self._runtime.config) + SPARE_THREADS
        max_body_bytes = self._runtime.config.max_body_bytes
        return Bridge(create_app(self._runtime), threads=threads, max_body_bytes=max_body_bytes, without=ADDED_BY_RAY)

    def check_health(self) -> None:
        """Asked by Ray, which starts another replica in place of one whose engine has died.

        Raises:
            NotReady: it has.
        """
        _ = self._runtime.host.model

    def __del__(self) -> None:
        """Called by Ray when the last reply has been sent, and for one that could not be made."""
        runtime: Runtime | None = getattr(self, "_runtime", None)
        if runtime is not None:
            runtime.store.close()


def end_soon(reason: str) -> None:
    """End the process, for Ray to start another one, once those who wait for a reply have been told."""
    logger.error(reason)
    threading.Timer(FAREWELL_S, os._exit, [1]).start()


def show_metrics(metrics: Metrics, host: str, first_port: int) -> None:
    """Serve metrics at the first free port from `first_port` on.

    Raises:
        ConfigurationError: none of the next hundred is free.
    """
    for port in range(first_port, first_port + METRICS_PORTS):
        try:
            metrics.listen(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigurationError(f"Metrics cannot be shown at {host}:{port} ({error.strerror}).") from error
        else:
            logger.info("Metrics of this replica are at http://%s:%d/metrics.", host, port)
            return
    raise ConfigurationError(f"No port is free from {first_port} on; choose another with --metrics-port.")


def build(config: ReplicaConfig, provision: Provision | None = None) -> Application:
    """The application, for `serve.run`.

    Args:
        config: settings of the replicas.
        provision: what they serve, if that is known already.
    """
    options: dict[str, Any] = {"num_replicas": config.replicas}
    at_once = max_at_work(config.service) + SPARE_THREADS
    if config.scales:
        scaling = AutoscalingConfig(
            min_replicas=config.replicas,
            max_replicas=config.max_running,
            target_ongoing_requests=config.target_requests,
            upscale_delay_s=UPSCALE_DELAY_S,
        )
        options = {"autoscaling_config": scaling}
    deployment = serve.deployment(
        name=NAME,
        ray_actor_options={"num_cpus": config.threads},
        # More than a replica takes, for its own refusals say when to come again.
        max_ongoing_requests=at_once,
        # Those for which Ray still looks for a replica; with fewer it would itself refuse what comes at one moment.
        max_queued_requests=at_once,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=config.service.drain_timeout_s,
        health_check_period_s=HEALTH_CHECK_S,
        health_check_timeout_s=HEALTH_CHECK_TIMEOUT_S,
        logging_config=QUIET,
        **options,
    )
    return deployment(serve.ingress()(Replica)).bind(config.replica, config.metrics_port, provision)


def app(settings: Mapping[str, object]) -> Application:
    """The application of settings named like the flags of `python -m deploy`, for Ray's own commands and files.

    Raises:
        ConfigurationError: settings are wrong.
    """
    return build(from_mapping(settings))
