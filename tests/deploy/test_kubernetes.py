"""The example for Kubernetes, as far as can be told without a cluster: by its schema, and by a service that is started
with what a pod of it would get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service import healthcheck
from service.check import Kind, links, settings
from service.settings import OPTIONS, parse
from tests.service.process import ROOT, ServiceProcess
from tests.test_dockerfile import environment, last

RELEASES = ("1.31", "1.37")
CLUSTER_IP = "10.96.7.21"


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    text = (ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def kinds(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def pod(kinds: dict[str, Any]) -> Any:
    return kinds["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> Any:
    (found,) = pod["containers"]
    return found


@pytest.fixture(scope="module")
def linked(kinds: dict[str, Any]) -> dict[str, str]:
    """What Kubernetes sets in each pod of the namespace for the Service."""
    service = kinds["Service"]
    name = service["metadata"]["name"].upper().replace("-", "_")
    ports = service["spec"]["ports"]
    first = f"tcp://{CLUSTER_IP}:{ports[0]['port']}"
    found = {f"{name}_SERVICE_HOST": CLUSTER_IP, f"{name}_SERVICE_PORT": str(ports[0]["port"]), f"{name}_PORT": first}
    for port in ports:
        number = port["port"]
        found[f"{name}_SERVICE_PORT_{port['name'].upper()}"] = str(number)
        base = f"{name}_PORT_{number}_TCP"
        found |= {base: f"tcp://{CLUSTER_IP}:{number}", f"{base}_PROTO": "tcp", f"{base}_PORT": str(number)}
        found[f"{base}_ADDR"] = CLUSTER_IP
    return found


@pytest.mark.parametrize("release", RELEASES)
def test_each_document_is_what_the_schema_takes(documents: list[dict[str, Any]], release: str) -> None:
    for document in documents:
        kubernetes_validate.validate(document, release, strict=True)


def test_a_word_that_the_schema_does_not_know_would_be_found(kinds: dict[str, Any]) -> None:
    wrong = {**kinds["Service"], "spec": {**kinds["Service"]["spec"], "selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[-1], strict=True)


def test_its_parts_fit_together(kinds: dict[str, Any], pod: dict[str, Any], container: dict[str, Any]) -> None:
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert kinds["Service"]["spec"]["selector"] == labels
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports[kinds["Service"]["spec"]["ports"][0]["targetPort"]] == parse([], {}).port
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    assert pod["terminationGracePeriodSeconds"] > parse([], {}).drain_timeout_s
    assert pod["securityContext"]["runAsUser"] == int(last("USER"))


def test_claims_are_for_the_folders_that_must_outlive_the_pod(
    documents: list[dict[str, Any]], pod: dict[str, Any], container: dict[str, Any]
) -> None:
    claims = {document["metadata"]["name"] for document in documents if document["kind"] == "PersistentVolumeClaim"}
    claimed = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert set(claimed.values()) == claims
    mounted = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in claimed}
    assert environment()["CHATBOT_MODELS_DIR"] in mounted
    assert str(Path(environment()["CHATBOT_STORE"]).parent) in mounted


def test_its_settings_are_right_and_links_are_none_of_them(
    container: dict[str, Any], linked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {entry["name"]: entry.get("value", "k" * 32) for entry in container["env"]}
    assert set(own) <= {option.variable for option in OPTIONS.values()}
    for name, value in (environment() | linked | own).items():
        monkeypatch.setenv(name, value)
    config = parse([])
    assert (config.host, config.port, config.log_format) == ("0.0.0.0", 5000, "json")
    assert [finding.kind for finding in links(config)] == [Kind.WARNING]
    assert not [finding for finding in settings(config) if finding.kind is not Kind.FACT]


def test_a_pod_of_a_service_of_our_name_starts_and_its_probes_answer(
    pod: dict[str, Any],
    container: dict[str, Any],
    linked: dict[str, str],
    tiny_export: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert pod["enableServiceLinks"] is True
    for name, value in linked.items():
        monkeypatch.setenv(name, value)
    with ServiceProcess("--model", tiny_export) as service:
        service.wait_ready()
        assert "enableServiceLinks" in service.log
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == container["ports"][0]["name"]
            assert service.get(asked["path"]).status == 200
        health = {"CHATBOT_PORT": str(service.port), "http_proxy": "http://127.0.0.1:1"}
        assert healthcheck.main(linked | health) == 0
