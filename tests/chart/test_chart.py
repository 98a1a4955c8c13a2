"""What the chart renders, for many values."""

import json
import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from holter_operator import settings, uninstall
from holter_operator.api import crd
from holter_operator.build.given import Component

VALUES = YAML(typ="safe").load(Path(__file__).with_name("values.yaml"))


@pytest.fixture(params=VALUES)
def rendered(request, helm):
    return helm.template(VALUES[request.param])


def of(objects, kind, name=None):
    return [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]


def pods(objects):
    return [(each, each["spec"]["template"]["spec"]) for each in objects if "template" in each.get("spec", {})]


def operator(objects):
    (deployment,) = of(objects, "Deployment")
    return deployment


def environment(workload):
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_lint(helm):
    helm.run("lint", helm.chart, "--strict", "--kube-version", "1.35.0")


def test_objects_are_named_once(rendered):
    seen = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in rendered]
    assert len(seen) == len(set(seen))
    for each in rendered:
        assert len(each["metadata"]["name"]) <= 63
        if each["kind"] != "CustomResourceDefinition":
            assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_pods_meet_the_restricted_standard_on_a_read_only_root(rendered):
    found = pods(rendered)
    assert found
    for each, spec in found:
        assert spec["securityContext"]["runAsNonRoot"] is True, each["metadata"]["name"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
        assert all(set(volume) & {"secret", "emptyDir"} for volume in spec.get("volumes", ()))
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_selectors_find_their_own_pods_and_no_cohorts(rendered):
    by_name = {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"] for each, _ in pods(rendered)}
    for each in rendered:
        selector = each.get("spec", {}).get("selector")
        if each["kind"] in ("Service", "Deployment", "StatefulSet"):
            wanted = selector.get("matchLabels", selector)
            found = [name for name, labels in by_name.items() if wanted.items() <= labels.items()]
            assert found == [each["metadata"]["name"]]
            assert wanted["app.kubernetes.io/name"] != "holter"


def test_one_operator_at_a_time(rendered):
    spec = operator(rendered)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


class Watched(Mapping):
    """An environment that knows what was looked up in it."""

    def __init__(self, content):
        self.content, self.asked = content, set()

    def __getitem__(self, name):
        self.asked.add(name)
        return self.content[name]

    def __iter__(self):
        return iter(self.content)

    def __len__(self):
        return len(self.content)


def test_the_operator_understands_its_environment(rendered):
    watched = Watched(environment(operator(rendered)))
    settings.read(watched)
    assert {name for name in watched if name.startswith("HOLTER_")} <= watched.asked


def test_values_become_settings(helm):
    found = settings.read(environment(operator(helm.template(VALUES["everything"]))))
    assert set(found.images) == set(Component)
    assert set(found.images.values()) == {"example.org:5000/holter/services:1.9"}
    assert found.image_pull_policy == "Never"
    assert found.influxdb == Path("/etc/holter/influxdb")
    assert (found.resync, found.workers, found.deletion, found.log_level) == (60, 16, 300, "debug")
    assert settings.read(environment(operator(helm.template(VALUES["namespaced"])))).namespaces == (
        "st-mary",
        "st-john",
    )


def test_without_an_influxdb_of_its_own_none_is_mounted(helm):
    deployment = operator(helm.template())
    assert "HOLTER_INFLUXDB" not in environment(deployment)
    assert "volumes" not in deployment["spec"]["template"]["spec"]


def test_the_connection_is_the_secret(helm):
    for values, secret in (("own-influxdb", "holter-influxdb"), ("existing-secret", "hospital-influxdb")):
        objects = helm.template(VALUES[values])
        (volume,) = operator(objects)["spec"]["template"]["spec"]["volumes"]
        assert volume["secret"]["secretName"] == secret
    assert not of(objects, "StatefulSet")


def test_one_influxdb_is_enough(helm, refused):
    with pytest.raises(refused, match="exclude each other"):
        helm.template({"influxdb": {"install": True, "existingSecret": "x"}})


def test_probes_ask_for_the_port_that_is_open(rendered):
    (container,) = operator(rendered)["spec"]["template"]["spec"]["containers"]
    assert {"name": "metrics", "containerPort": 9090} in container["ports"]
    assert environment(operator(rendered))["HOLTER_PORT_METRICS"] == "9090"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "metrics"


def test_the_crd_is_the_repositorys_and_kept(helm):
    (found,) = of(helm.template(), "CustomResourceDefinition")
    assert found["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert found == crd.load()
    assert not of(helm.template({"crds": {"install": False}}), "CustomResourceDefinition")


def test_a_package_has_the_crd_as_a_file(helm, tmp_path):
    helm.run("package", helm.chart, "-d", tmp_path)
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as archive:
        member = archive.getmember(f"holter/files/{crd.path().name}")
        assert member.isfile()
        assert archive.extractfile(member).read() == crd.path().read_bytes()
        assert not [name for name in archive.getnames() if "/." in name]


def test_the_charts_version_is_the_projects(helm):
    project = tomllib.loads((helm.chart.parents[1] / "pyproject.toml").read_text())["project"]["version"]
    about = YAML(typ="safe").load(helm.chart / "Chart.yaml")
    assert (about["version"], about["appVersion"]) == (project, project)


def test_a_secret_and_disk_outlive_the_release(helm):
    objects = helm.template(VALUES["own-influxdb"])
    (secret,) = of(objects, "Secret")
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert set(secret["data"]) == {"url", "org", "token", "username", "password"}
    (workload,) = of(objects, "StatefulSet")
    assert workload["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_tokens_are_not_alike(helm):
    one, other = (of(helm.template(VALUES["own-influxdb"]), "Secret")[0]["data"] for _ in range(2))
    assert one["token"] != other["token"]
    assert one["password"] != other["password"]


def test_the_hook_goes_first_and_is_bounded(helm):
    objects = helm.template(VALUES["everything"])
    (job,) = of(objects, "Job")
    hooks = [each for each in objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]
    assert {each["kind"] for each in hooks} == {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Job"}
    assert {each["metadata"]["annotations"]["helm.sh/hook"] for each in hooks} == {"pre-delete"}
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["python", "-m", uninstall.__name__]
    waits = settings.read(environment(job)).deletion
    assert VALUES["everything"]["operator"]["deletionSeconds"] < waits < job["spec"]["activeDeadlineSeconds"]
    assert job["spec"]["backoffLimit"] == 0


def test_cohorts_may_stay(helm):
    assert not of(helm.template(VALUES["keeps-cohorts"]), "Job")


def test_the_longest_wait_is_one_that_the_hook_takes(helm):
    objects = helm.template({"operator": {"deletionSeconds": 3540}})
    assert settings.read(environment(of(objects, "Job")[0])).deletion == 3600


def test_long_release_names_fit(helm):
    for each in helm.template(VALUES["own-influxdb"], release="a" * 53):
        assert len(each["metadata"]["name"]) <= 58  # a StatefulSet's pods and a Job's add to it


@pytest.mark.parametrize(
    ("values", "about"),
    [
        ({"replicas": 2}, "replicas"),
        ({"watchNamespaces": "st-mary"}, "watchNamespaces"),
        ({"watchNamespaces": ["st-*"]}, "watchNamespaces"),
        ({"watchNamespaces": ["a", "a"]}, "watchNamespaces"),
        ({"image": {"tag": "a b"}}, "tag"),
        ({"image": {"repository": ""}}, "repository"),
        ({"services": {"image": {"pullPolicy": "always"}}}, "pullPolicy"),
        ({"influxdb": {"install": "true"}}, "install"),
        ({"influxdb": {"org": ""}}, "org"),
        ({"influxdb": {"existingSecret": "A B"}}, "existingSecret"),
        ({"influxdb": {"persistence": {"size": "20 GB"}}}, "size"),
        ({"influxdb": {"retention": "1h"}}, "retention"),
        ({"operator": {"logLevel": "verbose"}}, "logLevel"),
        ({"operator": {"workers": 0}}, "workers"),
        ({"operator": {"resyncSeconds": "10m"}}, "resyncSeconds"),
        ({"operator": {"deletionSeconds": 3600}}, "deletionSeconds"),
        ({"operator": {"podLabels": {"a": 1}}}, "podLabels"),
        ({"operator": {"resources": {"request": {}}}}, "resources"),
        ({"uninstall": {"cohorts": "delete"}}, "cohorts"),
        ({"monitoring": {"serviceMonitor": {"interval": "often"}}}, "interval"),
        ({"networkPolicy": {"metricsFrom": {}}}, "metricsFrom"),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
        ({"crds": {"keep": True}}, "crds"),
        ({"rbac": {"aggregate": 1}}, "aggregate"),
    ],
    ids=str,
)
def test_values_that_cannot_be_are_refused(helm, refused, values, about):
    with pytest.raises(refused, match=f"(?s)schema.*{about}"):
        helm.template(values)


def test_every_value_is_told_of_by_the_schema(helm):
    """A value without a schema could not be refused."""
    schema = json.loads((helm.chart / "values.schema.json").read_text())

    def unknown(values, within, path=""):
        within = schema["definitions"][within["$ref"].rpartition("/")[2]] if "$ref" in within else within
        for name, value in values.items():
            below = within.get("properties", {}).get(name)
            if below is None:
                yield f"{path}.{name}"
            elif isinstance(value, dict) and value:
                yield from (
                    unknown(value, below, f"{path}.{name}")
                    if "additionalProperties" not in below or below["additionalProperties"] is False
                    else ()
                )

    assert list(unknown(YAML(typ="safe").load(helm.chart / "values.yaml"), schema)) == []


def test_rules_and_dashboard_are_of_this_release(helm):
    objects = helm.template(VALUES["everything"])
    (rule,), (board,) = of(objects, "PrometheusRule"), of(objects, "ConfigMap", "ecg-operator-dashboard")
    (group,) = rule["spec"]["groups"]
    alerts = {each["alert"]: each for each in group["rules"]}
    assert 'namespace="holter-system",service="ecg-operator"' in alerts["HolterOperatorDown"]["expr"]
    assert "{{ $labels.kind }}" in alerts["HolterRepairsRepeated"]["annotations"]["summary"]
    assert "RELEASE" not in json.dumps(rule)
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(board["data"]["holter.operator.json"])["title"] == "Holter / Operator"


def test_rules_and_dashboard_are_left_out_unless_asked_for(helm):
    assert not of(helm.template(VALUES["defaults"]), "PrometheusRule")
