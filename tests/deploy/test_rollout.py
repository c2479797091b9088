"""Bringing settings to a cluster and waiting for it, with a cluster that answers as Ray's does."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import rollout
from deploy.rollout import RolloutConfig, failure_reason, read, roll_out
from service.errors import ConfigurationError, ServiceError

PENDING = "Deployment 'chatbot' has 1 replicas that have taken more than 30s to be scheduled. Resources required: ..."
TRACE = """The deployment failed to start 3 times in a row.
\x1b[36mray::ServeReplica:chatbot:chatbot.initialize_and_get_metadata()\x1b[39m (pid=6719, ip=10.0.0.1)
  File "replica.py", line 1, in initialize
service.errors.ConfigurationError: There is no model folder /no/such; make it with: python -m export
"""


class Cluster:
    """One that tells one thing after the other once it has been given something, and the last one for good."""

    concern = ""

    def __init__(self, *told: Mapping[str, Any], cores: Mapping[str, float] | None = None) -> None:
        self._told = list(told)
        self._cores = cores or {"127.0.0.1": 4.0}
        self._before: Mapping[str, Any] = application("RUNNING", ["RUNNING"], at=1.0)
        self.given: dict[str, Any] = {}
        self.left: Mapping[str, float] = {}

    def cores(self) -> Mapping[str, float]:
        return self.left if self.given and self.left else self._cores

    def deploy(self, content: Mapping[str, Any]) -> None:
        self.given = copy.deepcopy(dict(content))

    def details(self) -> Mapping[str, Any]:
        if not self.given:
            return self._before
        return self._told.pop(0) if len(self._told) > 1 else self._told[0]


def application(
    status: str, states: list[str], *, wanted: int = 2, message: str = "", at: float = 2.0
) -> dict[str, Any]:
    deployment = {
        "status": "UPDATING",
        "message": message,
        "target_num_replicas": wanted,
        "replicas": [{"state": state} for state in states],
    }
    told = {"status": status, "message": "", "last_deployed_time_s": at, "deployments": {"chatbot": deployment}}
    return {"applications": {"chatbot": told}}


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The file for a cluster, with a store and a proxy that are there."""
    monkeypatch.setattr(rollout, "POLL_S", 0.0)
    found = read(RolloutConfig(store=str(tmp_path / "store")))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Ready) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        found["http_options"]["port"] = proxy.server_address[1]
        yield found
        proxy.shutdown()
        thread.join()


def test_it_waits_until_all_new_replicas_run_and_no_old_one(
    content: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    stages = [
        application("RUNNING", ["RUNNING", "RUNNING"], at=1.0),
        application("DEPLOYING", []),
        application("RUNNING", ["RUNNING"]),
        application("DEPLOYING", ["RUNNING", "STARTING"]),
        application("RUNNING", ["RUNNING", "RUNNING", "STOPPING"]),
        application("RUNNING", ["RUNNING", "RUNNING"]),
    ]
    cluster = Cluster(*stages)
    caplog.set_level("INFO")
    roll_out(content, cluster)
    assert len(cluster._told) == 1
    assert "2 of 2 replicas run." in caplog.text
    assert f"Serving at http://127.0.0.1:{content['http_options']['port']}." in caplog.text


RUNS = application("RUNNING", ["RUNNING", "RUNNING"])


@pytest.mark.parametrize(("asked", "found"), [(0, 5), (3, 3)])
def test_the_machines_cores_are_the_number_of_replicas_unless_it_is_asked_for(
    content: dict[str, Any], asked: int, found: int
) -> None:
    cluster = Cluster(RUNS, cores={"127.0.0.1": 4.0, "127.0.0.2": 2.0, "127.0.0.3": 5.0, "127.0.0.4": 1.0})
    rollout.PROXY_S, before = 0.0, rollout.PROXY_S
    try:
        roll_out(content, cluster, replicas=asked)
    finally:
        rollout.PROXY_S = before
    (given,) = cluster.given["applications"]
    # Elsewhere than among the arguments, so that more or fewer of them replace none.
    assert given["deployments"] == [{"name": "chatbot", "num_replicas": found}]
    assert "replicas" not in given["args"]


def test_the_number_in_the_file_counts_and_may_follow_the_load(content: dict[str, Any]) -> None:
    content["applications"][0]["args"]["replicas"] = 2
    cluster = Cluster(RUNS)
    roll_out(copy.deepcopy(content), cluster)
    assert cluster.given["applications"][0]["deployments"][0]["num_replicas"] == 2
    content["applications"][0]["args"] |= {"replicas": 1, "max-replicas": 16}
    cluster = Cluster(RUNS)
    roll_out(content, cluster)
    (given,) = cluster.given["applications"]
    assert "deployments" not in given
    assert given["args"]["replicas"] == 1


@pytest.mark.parametrize(
    ("told", "why_not"),
    [
        (
            application("DEPLOY_FAILED", [], message=TRACE),
            "It does not run: There is no model folder /no/such; make it",
        ),
        (application("UNHEALTHY", ["RUNNING"], message="1 replica failed."), "It does not run: 1 replica failed."),
    ],
)
def test_why_it_does_not_run_is_said(content: dict[str, Any], told: dict[str, Any], why_not: str) -> None:
    with pytest.raises(ServiceError) as error:
        roll_out(content, Cluster(application("DEPLOYING", []), told))
    assert str(error.value).startswith(why_not)


def test_a_machine_that_leaves_meanwhile_is_not_waited_for(content: dict[str, Any]) -> None:
    slow = application("DEPLOYING", ["RUNNING"], message=PENDING)
    cluster = Cluster(slow)
    cluster.left = {"127.0.0.1": 2.0}
    with pytest.raises(ServiceError, match="1 of 2 replicas run; for the others no machine has 2 cores free"):
        roll_out(content, cluster)
    # With room for both it is only slow.
    roll_out(content, Cluster(slow, slow, RUNS))


@pytest.mark.parametrize(("cores", "asked"), [({"a": 1.0, "b": 1.0}, 0), ({"a": 4.0, "b": 3.0}, 4)])
def test_what_no_machine_has_room_for_is_not_begun(
    content: dict[str, Any], cores: dict[str, float], asked: int
) -> None:
    cluster = Cluster(RUNS, cores=cores)
    with pytest.raises(ConfigurationError, match="add machines with make ray-node"):
        roll_out(content, cluster, replicas=asked)
    assert not cluster.given


def test_a_store_that_is_not_there_is_told_before_anything_is_begun(content: dict[str, Any]) -> None:
    content["applications"][0]["args"]["store"] = "redis://127.0.0.1:1/0"
    cluster = Cluster(RUNS)
    with pytest.raises(ConfigurationError, match="Redis"):
        roll_out(content, cluster)
    assert not cluster.given


def test_a_head_that_would_forget_is_told(content: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(RUNS)
    cluster.concern = "The head forgets."
    roll_out(content, cluster)
    assert "The head forgets." in caplog.text


@pytest.mark.parametrize("text", ["", "applications: []", "applications: [1]", "a: [", "applications: [{args: 1}]"])
def test_a_file_that_is_none_of_a_cluster_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"mine\.yaml is no file of one application such as deploy/ray_serve"):
        read(RolloutConfig(file=path))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(RolloutConfig(file=tmp_path / "none"))


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    args = {"model": "auto", "store": "redis://a:6379/0", "threads": 3}
    path.write_text(yaml.safe_dump({"applications": [{"name": "chatbot", "args": args}]}), encoding="utf-8")
    found = read(RolloutConfig(file=path, model="demo", store="redis://b:6379/0"))
    assert found["applications"][0]["args"] == {"model": "demo", "store": "redis://b:6379/0", "threads": 3}
    assert read(RolloutConfig(file=path))["applications"][0]["args"] == args


def test_a_failure_without_a_word_points_to_the_logs() -> None:
    assert "logs" in failure_reason("")
    assert failure_reason("One line.\nAnd another.\n") == "And another."


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--replicas", "none"], "--replicas is 'none'; it takes a whole number from 1 to 1000."),
        (["--replica", "2"], "python -m deploy.rollout --help lists the flags."),
        (["--file", "no/such.yaml"], "no/such.yaml cannot be read"),
    ],
)
def test_wrong_flags_are_told_in_a_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rollout.main(arguments) == 2
    said = capsys.readouterr().err
    assert told in said
    assert len(said.splitlines()) == 1


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        rollout.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(option.flag in told and option.variable in told for option in rollout.OPTIONS.values())
