"""`python -m deploy`: serve by several replicas on this machine."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator

from deploy.config import ReplicaConfig, parse
from service import logs
from service.api import keys
from service.chat.store import open_store
from service.check import Finding, Kind, findings, report
from service.engine.network import available_cores
from service.errors import ConfigurationError, ServiceError
from service.provision import MODELS, Provider, Provision
from service.server import listen

logger = logging.getLogger("service")


def main(arguments: list[str] | None = None) -> int:
    try:
        config = parse(sys.argv[1:] if arguments is None else arguments)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    if config.service.check:
        return report([*findings(config.each), *crowding(config)])
    logs.configure(config.service.log_format)
    try:
        return _serve(config)
    except ServiceError as error:
        if config.service.log_format == "json":
            logger.error(str(error))
        else:
            print(f"error: {error}", file=sys.stderr)
        return 1


def crowding(config: ReplicaConfig) -> Iterator[Finding]:
    """Whether there are cores for all replicas."""
    needed, cores = config.most * config.threads, available_cores()
    if needed > cores:
        yield Finding(
            Kind.WARNING,
            f"{config.most} replicas with {config.threads} threads each share {cores} cores, which slows replies down.",
        )


def _serve(config: ReplicaConfig) -> int:
    ended = threading.Event()
    service = config.service
    provider = Provider(logger.info, service.models_dir or MODELS, quiet=service.log_format == "json")

    def end(*_: object) -> None:
        ended.set()
        provider.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with listen(service.host, service.port) as listener:
        host, port = listener.getsockname()[:2]
    store = open_store(service.store, capacity=service.max_conversations, ttl_s=service.conversation_ttl_s)
    store.close()
    logger.info("Conversations are kept in %s.", store.place)
    crowded = [finding.sentence for finding in crowding(config)]
    for warning in filter(None, [*crowded, *store.concerns, keys.unguarded(service, host)]):
        logger.warning(warning)
    provision = provider.provide(service.model)
    try:
        _run(config, provision, host, port, ended)
    except ModuleNotFoundError as error:
        raise ConfigurationError("Replicas need Ray; run pip install -r requirements-ray.txt.") from error
    return 0


def _run(config: ReplicaConfig, provision: Provision, host: str, port: int, ended: threading.Event) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray import serve

    from deploy.ray_app import NAME, build

    cpus = max(available_cores(), config.most * config.threads)
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, logging_level=logging.WARNING)
    serve.start(http_options={"host": host, "port": port}, proxy_location="HeadOnly")
    serve.run(build(config, provision), name=NAME)
    logger.info("Listening on http://%s:%s with %d replicas", host, port, config.replicas)
    ended.wait()
    logger.info("Shutting down: running replies finish first.")
    # Replicas first: the proxy passes on what they still say.
    serve.delete(NAME)
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
