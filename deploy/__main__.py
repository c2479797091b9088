"""`python -m deploy`: serve by several replicas on this machine."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from deploy.config import OPTIONS, OWN_OPTIONS, ReplicaConfig, parse
from models import manifest
from models.folder import MODELS, ModelFolderError
from service import logs
from service.check import Finding, Kind, findings, links, report
from service.conversations.opening import open_store
from service.engine import machine
from service.engine.errors import EngineError
from service.errors import ConfigurationError, ServiceError
from service.options import linked, misspelt
from service.serving.provision import Provider, Provision
from service.serving.server import listen

logger = logging.getLogger("service")

# Replicas share no objects; this is the least that Ray takes.
OBJECT_STORE_BYTES = 80 * 2**20
# What Ray takes to take replicas away, beside the time for their running replies.
DELETION_S = 15.0
POLL_S = 0.1


def main(arguments: list[str] | None = None) -> int:
    try:
        config = parse(sys.argv[1:] if arguments is None else arguments)
    except ConfigurationError as error:
        logs.complain(str(error))
        return 2
    if complaint := machine.unsupported():
        logs.complain(complaint, config.service.log_format)
        return 1
    if config.service.check:
        own = tuple(option.variable for option in OWN_OPTIONS.values())
        service_findings = [finding for finding in findings(config.replica) if not finding.sentence.startswith(own)]
        return report([*service_findings, *concerns(config)])
    logs.configure(config.service.log_format)
    try:
        return _serve(config)
    except KeyboardInterrupt:
        return 1
    except (ServiceError, EngineError, ModelFolderError) as error:
        logs.complain(str(error), config.service.log_format)
        return 1


def concerns(config: ReplicaConfig) -> Iterator[Finding]:
    """Whether there are cores for all replicas, and which variables are none of their settings."""
    for sentence in linked(os.environ, OWN_OPTIONS):
        yield Finding(Kind.WARNING, sentence)
    needed, cores = config.max_running * config.threads, machine.cores()
    if needed > cores.count:
        note = f" ({cores.reason})" if cores.reason else ""
        yield Finding(
            Kind.WARNING,
            f"The threads that all replicas have together ({needed}) are more than the {cores} here{note}, which slows "
            "replies down.",
        )


def _serve(config: ReplicaConfig) -> int:
    signals: list[int] = []
    service = config.service
    provider = Provider(logger.info, service.models_dir or MODELS, quiet=service.log_format == "json")

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)
        provider.cancel()

    listen_to_signals(on_signal)
    with listen(service.host, service.port) as listener:
        host, port = listener.getsockname()[:2]
    store = open_store(service.store, capacity=service.max_conversations, ttl_s=service.conversation_ttl_s)
    store.close()
    logger.info("Conversations are kept in %s.", store.place)
    sentences = [finding.sentence for finding in (*concerns(config), *links(service))]
    for sentence in (*sentences, *misspelt(os.environ, OPTIONS)):
        logger.warning(sentence)
    provision = provider.provide(service.model)
    manifest.check(provision.folder)
    try:
        with _replicas(config, provision, host, port):
            # Ray has put its own in their place.
            listen_to_signals(on_signal)
            logger.info("Listening on http://%s:%s with %d replicas", host, port, config.replicas)
            # A thread of Ray may have taken the signal; its handler runs when this one wakes.
            while not signals:
                time.sleep(POLL_S)
            logger.info("Shutting down: running replies finish first.")
    except ModuleNotFoundError as error:
        raise ConfigurationError("Replicas need Ray; run pip install -r requirements/ray.txt.") from error
    return 0


def listen_to_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Call `handler` at SIGTERM and at Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


@contextmanager
def _replicas(config: ReplicaConfig, provision: Provision, host: str, port: int) -> Iterator[None]:
    """A Ray of our own with the replicas on it; when the block ends, their running replies finish first."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Lines of different requests look alike to Ray, which would leave some out.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    if config.service.log_format == "json":
        os.environ.setdefault("RAY_DISABLE_WORKER_LOG_PREFIX", "1")
    import ray
    from ray import serve

    from deploy.ray_app import NAME, QUIET, build

    # Its own log lines are in its files too.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    cpus = max(machine.available_cores(), config.max_running * config.threads)
    ray.init(
        address="local",
        num_cpus=cpus,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        logging_level=logging.WARNING,
    )
    try:
        http_options = {"host": host, "port": port}
        serve.start(http_options=http_options, proxy_location="HeadOnly", logging_config=QUIET)
        try:
            serve.run(build(config, provision), name=NAME)
        except RuntimeError as error:
            raise ConfigurationError(f"The replicas could not be started: {' '.join(str(error).split())}") from error
        yield
        # Replicas before the proxy, which passes on what they still say.
        serve.delete(NAME, _blocking=False)
        end = time.monotonic() + config.service.drain_timeout_s + DELETION_S
        while NAME in serve.status().applications and time.monotonic() < end:
            time.sleep(POLL_S)
        serve.shutdown()  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
