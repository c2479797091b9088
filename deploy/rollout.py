"""`python -m deploy.rollout`: bring the settings of a file to a Ray cluster, and wait until replicas serve by them."""

from __future__ import annotations

import http.client
import logging
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from deploy import state
from deploy.config import ReplicaConfig, from_mapping
from service import logs
from service.command_line import Program, read_settings
from service.errors import ConfigurationError, ServiceError
from service.options import options_of, setting
from service.values import integer, model, path, store

logger = logging.getLogger("service")

ROLLOUT = "rollout"
OF_FILE = "the file's"
FILE = Path(__file__).with_name("ray_serve.yaml")
# Where the head listens for its own users.
DASHBOARD = "http://127.0.0.1:8265"
POLL_S = 0.5
PROXY_S = 30.0
REPORT_S = 30.0
EXCEPTION = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|NotReady): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class RolloutConfig:
    """What is brought to the cluster."""

    file: Path = setting(
        FILE,
        ROLLOUT,
        "--file",
        "settings, as `serve deploy` takes them",
        takes=path,
        metavar="FILE",
        default_text=f"deploy/{FILE.name}",
    )
    model: str = setting(
        "",
        ROLLOUT,
        "--model",
        "what is served, in place of the file's",
        takes=model,
        metavar="MODEL",
        default_text=OF_FILE,
    )
    store: str = setting(
        "",
        ROLLOUT,
        "--store",
        "where conversations are kept, in place of the file's",
        takes=store,
        metavar="STORE",
        default_text=OF_FILE,
    )
    replicas: int = setting(
        0,
        ROLLOUT,
        "--replicas",
        "copies of the engine",
        takes=integer(1, 1000),
        metavar="N",
        default_text="the file's, or as many as the machines have cores for",
    )


PROGRAM = Program(
    "python -m deploy.rollout",
    "Serve on the Ray cluster of which this machine is the head, and wait until it does.",
    ("python -m deploy.rollout --store redis://10.0.0.4:6379/0", "python -m deploy.rollout --file mine.yaml"),
)
OPTIONS = options_of(RolloutConfig)


class Cluster(Protocol):
    """A Ray cluster as its head shows it."""

    @property
    def concern(self) -> str:
        """What there is to fear for it, in a sentence; empty when there is nothing."""

    def cores(self) -> Mapping[str, float]:
        """Processor cores of each machine that is there, by its address."""

    def deploy(self, content: Mapping[str, Any]) -> None:
        """Have it serve what a file says, in place of what it serves now."""

    def details(self) -> Mapping[str, Any]:
        """What it serves now, as Ray's own interface tells it."""


def main(arguments: list[str] | None = None) -> int:
    try:
        words = sys.argv[1:] if arguments is None else arguments
        config = RolloutConfig(**read_settings(PROGRAM, words, os.environ, OPTIONS))  # type: ignore[arg-type]
        content = read(config)
    except ConfigurationError as error:
        logs.complain(str(error))
        return 2
    logs.configure("text")
    # As `python -m deploy.node` starts Ray.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        from deploy.dashboard import Dashboard

        roll_out(content, Dashboard(DASHBOARD), replicas=config.replicas)
    except ModuleNotFoundError:
        logs.complain("A cluster needs Ray; run make ray-head, or pip install -r requirements/ray.txt.")
        return 1
    except ServiceError as error:
        logs.complain(str(error))
        return 1
    except KeyboardInterrupt:
        logs.complain("Not waited for any longer; the cluster goes on with it.")
        return 1
    return 0


def read(config: RolloutConfig) -> dict[str, Any]:
    """The file's content with what the command line says in its place.

    Raises:
        ConfigurationError: the file cannot be read, or is not one of a single application.
    """
    try:
        content = yaml.safe_load(config.file.read_text(encoding="utf-8"))
        (application,) = content["applications"]
        own = {name: value for name in ("model", "store") if (value := getattr(config, name))}
        application["args"] = {**(application.get("args") or {}), **own}
    except OSError as error:
        raise ConfigurationError(f"{config.file} cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"{config.file} is no file of one application such as {FILE.parent.name}/{FILE.name}."
        ) from error
    return dict(content)


def roll_out(content: dict[str, Any], cluster: Cluster, *, replicas: int = 0) -> None:
    """Have a cluster serve what a file says, and wait until all its replicas do.

    Args:
        content: of the file.
        cluster: that is to serve it.
        replicas: how many; 0 for what the file says, or as many as the machines have cores for.

    Raises:
        ServiceError: they do not; the message says why.
    """
    (application,) = content["applications"]
    config = from_mapping(application["args"])
    for concern in filter(None, (*state.check(config.service.store), cluster.concern)):
        logger.warning(concern)
    cores = cluster.cores()
    most = capacity(cores, config)
    count = replicas or (config.replicas if "replicas" in application["args"] else most)
    if most == 0 or count > most:
        counts = ", ".join(f"{count:g}" for count in cores.values())
        raise ConfigurationError(
            f"{len(cores)} machines with {counts} cores have room for {most} replicas of {config.threads} threads, "
            f"not for {max(count, 1)}; add machines with make ray-node, or set fewer replicas or threads."
        )
    if not config.scales:
        # Not among `args`, a change of which replaces all replicas.
        application["args"].pop("replicas", None)
        application["deployments"] = [{"name": "chatbot", "num_replicas": count}]
    before = _deployed_at(cluster.details(), application["name"])
    cluster.deploy(content)
    wait(cluster, application["name"], config, since=before)
    addresses = [f"{address}:{content['http_options']['port']}" for address in sorted(cores)]
    serving = [address for address in addresses if _ready(address)]
    logger.info("Serving at %s.", ", ".join(f"http://{address}" for address in serving))
    if len(serving) > 1:
        logger.info("Next, on the balancer: python3 -m deploy.balancer %s > haproxy.cfg", " ".join(serving))


def wait(cluster: Cluster, name: str, config: ReplicaConfig, *, since: float) -> None:
    """Wait until the replicas of an application run that was deployed after another one.

    Raises:
        ServiceError: they will not.
    """
    reported, reported_at = "", time.monotonic()
    while True:
        details = cluster.details()
        application = details.get("applications", {}).get(name, {})
        if _deployed_at(details, name) > since:
            status = application.get("status", "")
            deployment: Mapping[str, Any] = next(iter(application.get("deployments", {}).values()), {})
            states = Counter(replica["state"] for replica in deployment.get("replicas", ()))
            target = deployment.get("target_num_replicas", 0)
            message = deployment.get("message") or application.get("message") or ""
            if status == "RUNNING" and states["RUNNING"] >= max(target, 1) and states.total() == states["RUNNING"]:
                logger.info("%d of %d replicas run.", states["RUNNING"], target)
                return
            if status in {"DEPLOY_FAILED", "UNHEALTHY"}:
                raise ServiceError(f"It does not run: {failure_reason(message)}")
            if "to be scheduled" in message and capacity(cluster.cores(), config) < target:
                raise ServiceError(
                    f"{states['RUNNING']} of {target} replicas run; for the others no machine has {config.threads} "
                    "cores free, since one has left the cluster meanwhile."
                )
            progress = f"{states['RUNNING']} of {target} replicas run" if target else "The settings are read"
            if progress != reported or time.monotonic() - reported_at > REPORT_S:
                logger.info("%s; waiting for the rest. A model is exported once on each machine, in minutes.", progress)
                reported, reported_at = progress, time.monotonic()
        time.sleep(POLL_S)


def capacity(cores: Mapping[str, float], config: ReplicaConfig) -> int:
    """Replicas for which machines with so many cores each have room."""
    return sum(int(count // config.threads) for count in cores.values())


def failure_reason(message: str) -> str:
    """The sentence in what Ray says of a failure, which holds traces of programs."""
    sentences = EXCEPTION.findall(message) or [line for line in message.splitlines() if line.strip()] or [""]
    return sentences[-1].strip() or "Ray does not say why; its logs are in /tmp/ray/session_latest/logs/serve."


def _deployed_at(details: Mapping[str, Any], name: str) -> float:
    return float(details.get("applications", {}).get(name, {}).get("last_deployed_time_s") or 0.0)


def _ready(address: str) -> bool:
    end = time.monotonic() + PROXY_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, http.client.HTTPException):
            time.sleep(POLL_S)
    logger.warning("The proxy at %s does not answer; a machine without a replica has none.", address)
    return False


if __name__ == "__main__":
    sys.exit(main())
