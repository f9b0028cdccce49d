"""The Helm chart, rendered by Helm's own library and checked against Kubernetes' schemas.

Helm is Go: it runs in a process of its own, so that its threads and signal handlers are not ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dragoman import conf
from dragoman.proxy import cli

pytest.importorskip("helm_python", reason="the chart is rendered by the package helm-python-sdk")
validate = pytest.importorskip("kubernetes_validate", reason="manifests are checked by the package kubernetes-validate")

CHART = Path(__file__).resolve().parent.parent / "docker" / "helm"
KUBERNETES = "1.30"

RENDER = """
import json, sys
import helm_python as helm
found = []
with helm.Chart.load(sys.argv[1]) as chart:
    for values in json.load(sys.stdin):
        try:
            found.append(chart.render(values, name="gate", namespace="prod"))
        except helm.HelmError as error:
            found.append({"error": str(error)})
print(json.dumps({"lint": helm.lint(sys.argv[1]), "rendered": found}))
"""
EVERYTHING = {
    "image": {"repository": "registry.example/dragoman", "tag": "1.2"},
    "imagePullSecrets": [{"name": "registry"}],
    "workers": 4,
    "secrets": ["provider-keys"],
    "secretVariables": {"OPENAI_API_KEY": {"secret": "openai", "key": "token"}},
    "secretFiles": ["certificates"],
    "service": {"type": "LoadBalancer", "port": 8080, "annotations": {"a": "b"}},
    "drain": {"preStop": 5, "timeout": 60},
    "autoscaling": {"enabled": True, "maxReplicas": 20},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "token": {"secret": "metrics", "key": "token"}},
    "networkPolicy": {"adminFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
    "serviceAccount": {"name": "dragoman"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "podAnnotations": {"note": "x"},
    "podLabels": {"team": "blue"},
}
SETS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "own file": {"existingConfigMap": "mine", "podDisruptionBudget": {"enabled": False}},
    "changed": {"config": {"model_providers": [{"model": "openai/*", "access_key": "$OPENAI_API_KEY"}]}},
    "wrong type": {"replicas": "two"},
    "unknown": {"replica": 2},
}


@pytest.fixture(scope="module")
def helm() -> dict[str, Any]:
    command = [sys.executable, "-c", RENDER, str(CHART)]
    ran = subprocess.run(command, input=json.dumps(list(SETS.values())), capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    found["rendered"] = dict(zip(SETS, found["rendered"], strict=True))
    return found  # type: ignore[no-any-return]


def manifests(helm: dict[str, Any], name: str) -> list[dict[str, Any]]:
    files = helm["rendered"][name]
    assert "error" not in files, files
    return [one for file, text in files.items() if file.endswith(".yaml") for one in yaml.safe_load_all(text) if one]


def one(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(manifest for manifest in found if manifest["kind"] == kind)


def test_lint(helm: dict[str, Any]) -> None:
    assert helm["lint"]["total_charts_linted"] == 1
    assert not helm["lint"]["errors"]


@pytest.mark.parametrize("name", ["defaults", "everything", "own file", "changed"])
def test_manifests_are_what_kubernetes_takes(helm: dict[str, Any], name: str) -> None:
    found = manifests(helm, name)
    assert len({(manifest["kind"], manifest["metadata"]["name"]) for manifest in found}) == len(found)
    for manifest in found:
        if manifest["apiVersion"] != "monitoring.coreos.com/v1":
            validate.validate(manifest, KUBERNETES, strict=True)


def test_the_check_can_fail(helm: dict[str, Any]) -> None:
    broken = one(manifests(helm, "defaults"), "Deployment")
    broken["spec"]["template"]["spec"]["containers"][0]["portz"] = []
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, KUBERNETES, strict=True)


def test_the_kinds(helm: dict[str, Any]) -> None:
    usual = {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
    assert {manifest["kind"] for manifest in manifests(helm, "defaults")} == usual
    more = {"HorizontalPodAutoscaler", "ServiceMonitor", "NetworkPolicy"}
    assert {manifest["kind"] for manifest in manifests(helm, "everything")} == usual | more
    assert {manifest["kind"] for manifest in manifests(helm, "own file")} == {"Deployment", "Service"}


@pytest.mark.parametrize("name", ["defaults", "everything"])
def test_the_container_can_start(helm: dict[str, Any], name: str) -> None:
    """Its arguments, its file, its ports and its probes fit each other."""
    found = manifests(helm, name)
    pod = one(found, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = cli.parser().parse_args(container["args"])
    assert (given.command, given.config) == ("serve", "/etc/dragoman/dragoman.yaml")
    config = conf.loads(one(found, "ConfigMap")["data"]["dragoman.yaml"], environ={})
    assert {(listener.port, listener.address) for listener in config.listeners} == {(12000, "0.0.0.0"), (12001, "0.0.0.0")}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 12000, "admin": 12001}
    for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/healthz"), ("startupProbe", "/healthz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    drain = SETS[name].get("drain", {"preStop": 10, "timeout": config.drain.timeout})
    assert container["lifecycle"]["preStop"] == {"sleep": {"seconds": drain["preStop"]}}
    assert pod["terminationGracePeriodSeconds"] == drain["preStop"] + drain["timeout"] + 10
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {given.config, "/tmp"}


def test_selectors_find_the_pods(helm: dict[str, Any]) -> None:
    found = manifests(helm, "everything")
    deployment = one(found, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    services = [manifest for manifest in found if manifest["kind"] == "Service"]
    for selector in [
        deployment["spec"]["selector"]["matchLabels"],
        one(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(found, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(service["spec"]["selector"] for service in services),
    ]:
        assert selector.items() <= labels
    scaled = one(found, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"]
    assert scaled == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    monitor = one(found, "ServiceMonitor")["spec"]
    (admin,) = [service for service in services if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()]
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in admin["spec"]["ports"]}
    assert monitor["endpoints"][0]["path"] == "/metrics"
    assert monitor["endpoints"][0]["authorization"] == {"credentials": {"name": "metrics", "key": "token"}}


def test_secrets_are_named_and_never_written(helm: dict[str, Any]) -> None:
    (container,) = one(manifests(helm, "everything"), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "provider-keys"}}]
    assert container["env"] == [{"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "openai", "key": "token"}}}]
    assert {"name": "secret-certificates", "mountPath": "/etc/dragoman/secrets/certificates", "readOnly": True} in container["volumeMounts"]
    assert "Secret" not in {manifest["kind"] for manifest in manifests(helm, "everything")}


def test_a_changed_configuration_makes_new_pods(helm: dict[str, Any]) -> None:
    sums = {
        one(manifests(helm, name), "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for name in ("defaults", "changed")
    }
    assert len(sums) == 2


@pytest.mark.parametrize(("name", "why"), [("wrong type", "want integer"), ("unknown", "replica")])
def test_mistakes_in_values_are_refused(helm: dict[str, Any], name: str, why: str) -> None:
    assert why in helm["rendered"][name]["error"]


def test_every_value_is_in_the_schema() -> None:
    values, schema = yaml.safe_load((CHART / "values.yaml").read_text()), json.loads((CHART / "values.schema.json").read_text())
    assert values.keys() == schema["properties"].keys() - {"global"}
