"""Ingest, inference, console and refit: what the cohort decides, and what rolls their pods."""

import pytest

from holter_operator.build import console, hpa, inference, ingest, pdb, refit
from holter_operator.build.everything import objects
from holter_operator.build.pods import RESTART_ANNOTATION


def test_an_ephemeral_log_is_a_deployment_with_a_bounded_folder(make, bare):
    built = ingest.workload(make(ingest={"replicas": 3, "log": {"size": "2Gi"}}), bare)
    assert built["kind"] == "Deployment"
    assert built["spec"]["replicas"] == 3
    volumes = {volume["name"]: volume for volume in built["spec"]["template"]["spec"]["volumes"]}
    assert volumes["state"]["emptyDir"] == {"sizeLimit": "2Gi"}
    assert built["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_persistent_log_is_a_statefulset_with_claims(make, bare):
    built = ingest.workload(make("persistent"), bare)
    assert built["kind"] == "StatefulSet"
    assert built["spec"]["serviceName"] == "rehabilitation-ingest-headless"
    (claim,) = built["spec"]["volumeClaimTemplates"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
        "storageClassName": "fast",
    }
    pod = built["spec"]["template"]["spec"]
    assert claim["metadata"]["name"] not in [volume["name"] for volume in pod["volumes"]]
    assert claim["metadata"]["name"] in [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]


def test_the_default_storage_class_is_left_to_the_cluster(make, bare):
    cohort = make("persistent", ingest={"log": {"storageClassName": ""}})
    (claim,) = ingest.workload(cohort, bare)["spec"]["volumeClaimTemplates"]
    assert "storageClassName" not in claim["spec"]


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_claims_go_with_the_cohort_only_where_the_bucket_does(make, bare, policy):
    cohort = make("persistent", storage={"deletionPolicy": policy})
    kept = ingest.workload(cohort, bare)["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert kept == {"whenScaled": "Retain", "whenDeleted": policy}


@pytest.mark.parametrize(("volume", "kind"), [("Ephemeral", "Deployment"), ("Persistent", "StatefulSet")])
def test_an_autoscaler_alone_decides_over_replicas(make, bare, volume, kind):
    log = {"volume": volume} if volume == "Persistent" else {"volume": volume, "storageClassName": ""}
    cohort = make("persistent", ingest={"log": log})
    assert "replicas" not in ingest.workload(cohort, bare)["spec"]
    spec = hpa.autoscaler(cohort, bare)["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": kind, "name": "rehabilitation-ingest"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 12)
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 60


def test_no_autoscaler_unless_asked_for(make, bare):
    assert hpa.autoscaler(make(), bare) is None


def test_a_budget_only_where_one_pod_can_stand_in_for_another(make, bare):
    alone = make(ingest={"replicas": 1}, inference={"replicas": 1})
    assert (pdb.ingest(alone, bare), pdb.inference(alone, bare)) == (None, None)
    assert pdb.inference(make(), bare)["spec"]["maxUnavailable"] == 1
    scaled = {"replicas": 1, "autoscaling": {"enabled": True, "minReplicas": 2}}
    assert pdb.ingest(make(ingest=scaled), bare) is not None
    assert pdb.ingest(make(ingest=scaled | {"autoscaling": {"enabled": True, "minReplicas": 1}}), bare) is None


def test_placement_and_resources_are_the_cohorts(make, bare):
    cohort = make("everything")
    pod = ingest.workload(cohort, bare)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [
        {"key": "dedicated", "operator": "Equal", "value": "monitoring", "effect": "NoSchedule"}
    ]
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": 1, "memory": "1Gi"},
        "limits": {"memory": "1Gi"},
    }
    job = refit.cronjob(cohort, bare)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert job["nodeSelector"] == {"batch": "yes"}


def test_selectors_find_own_pods_alone(make, full, template):
    """And stay as they are for good: a workload's selector is immutable."""
    workloads = [each for each in objects(make("everything"), full) if template(each) and each["kind"] != "CronJob"]
    pods = [template(each)["metadata"]["labels"] for each in objects(make("everything"), full) if template(each)]
    assert len(workloads) == 3
    for each in workloads:
        wanted = each["spec"]["selector"]["matchLabels"]
        assert set(wanted) == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/component",
        }
        assert sum(wanted.items() <= labels.items() for labels in pods) == 1


def test_a_webhook_without_its_secret_stops_no_worker(make, bare):
    pod = inference.workload(make("everything"), bare)["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert [source["secret"] for source in volumes["webhooks"]["projected"]["sources"]] == [
        {"name": "ward-webhook", "items": [{"key": "hmac", "path": "ward/secret"}], "optional": True},
        {"name": "bridge", "items": [{"key": "secret", "path": "bridge/secret"}], "optional": True},
    ]
    assert volumes["profiles"]["secret"]["optional"] is True
    assert volumes["model"]["configMap"]["optional"] is True


def test_the_refit_runs_as_the_cohort_says(make, bare):
    spec = refit.cronjob(make("everything"), bare)["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("30 2 * * *", "Europe/Berlin", True)
    assert spec["concurrencyPolicy"] == "Forbid"


def test_refit_may_patch_one_configmap_and_nothing_else(make, full, template):
    built = objects(make("everything"), full)
    (role,) = [each for each in built if each["kind"] == "Role"]
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["cardiology-ward-model-candidate"],
            "verbs": ["patch"],
        }
    ]
    (binding,) = [each for each in built if each["kind"] == "RoleBinding"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == ["cardiology-ward-refit"]
    assert {each["kind"] for each in built}.isdisjoint({"ClusterRole", "ClusterRoleBinding"})


def test_only_refit_has_a_token_of_the_api_server(make, full, template):
    built = objects(make("everything"), full)
    assert all(each["automountServiceAccountToken"] is False for each in built if each["kind"] == "ServiceAccount")
    with_token = []
    for each in built:
        if (pod := template(each)) is None:
            continue
        assert pod["spec"]["automountServiceAccountToken"] is False
        if "serviceAccountToken" in str(pod["spec"]["volumes"]):
            with_token.append(each["metadata"]["name"])
    assert with_token == ["cardiology-ward-refit"]


def test_the_candidate_is_refits_to_fill(make, bare):
    """Under server-side apply, a `data` here would be emptied at each reconcile."""
    assert set(refit.candidate(make(), bare)) == {"apiVersion", "kind", "metadata"}


def test_there_is_no_console_without_its_tokens_or_where_it_is_off(make, bare, full):
    assert console.workload(make("everything"), bare) is None
    assert console.workload(make("persistent"), full) is None
    names = [each["metadata"]["name"] for each in objects(make("everything"), bare)]
    assert not any("console" in name for name in names)
    assert console.workload(make("everything"), full)["spec"]["template"]["spec"]["containers"][0]["command"] == [
        "holter",
        "console",
    ]


def _changed(before, after):
    def by_identity(built):
        return {(each["kind"], each["metadata"]["name"]): each for each in built}

    old, new = by_identity(before), by_identity(after)
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


CONFIG = ("ConfigMap", "ward-config")
WORKER = ("StatefulSet", "ward-inference")
RECEIVER = ("Deployment", "ward-ingest")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ingest": {"replicas": 4}}, {RECEIVER}),
        ({"inference": {"replicas": 4}}, {WORKER, CONFIG}),
        ({"alerting": {"falseAlertsPerPatientDay": 1}}, {CONFIG}),
        (
            {"alerting": {"webhooks": [{"name": "x", "url": "https://x.org"}]}},
            {CONFIG, ("NetworkPolicy", "ward-inference"), ("ConfigMap", "ward-dashboard")},
        ),
        ({"ingest": {"batch": {"size": 9}}}, {CONFIG}),
        ({"storage": {"retention": "48h"}}, {CONFIG}),
        ({"paused": True}, set()),
        ({"description": "x"}, set()),
        ({"refit": {"suspend": True}}, {("CronJob", "ward-refit")}),
        ({"refit": {"minWindows": 60}}, {CONFIG}),
        ({"model": {"pinnedRevision": 3}}, set()),
        ({"inference": {"window": "20s"}}, {CONFIG, WORKER}),
        ({"inference": {"resources": {"requests": {"cpu": "1"}}}}, {WORKER}),
        (
            {"ingest": {"http": {"port": 9000}}},
            {RECEIVER, ("Service", "ward-ingest"), ("Service", "ward-ingest-headless")},
        ),
    ],
)
def test_a_change_reaches_what_it_is_about_and_nothing_else(make, bare, change, expected):
    assert _changed(objects(make(), bare), objects(make(**change), bare)) == expected


@pytest.mark.parametrize(
    ("change", "rolled"),
    [
        ({"inference": {"replicas": 4}, "ingest": {"replicas": 4}}, set()),
        ({"alerting": {"cooldown": "5s"}, "ingest": {"batch": {"flushInterval": "3s"}}}, set()),
        ({"storage": {"retention": "48h"}}, set()),
        ({"inference": {"interval": "6s"}}, {WORKER}),
        ({"storage": {"layout": "Samples"}}, {WORKER, RECEIVER}),
        ({"signal": {"sampleRate": 500}}, {WORKER}),
        ({"ingest": {"udp": {"enabled": False}}}, {RECEIVER}),
    ],
)
def test_pods_roll_only_for_what_needs_a_restart(make, bare, template, change, rolled):
    def templates(cohort):
        built = objects(cohort, bare)
        return [{**each, "spec": template(each)} for each in built if each["kind"] in ("Deployment", "StatefulSet")]

    assert _changed(templates(make()), templates(make(**change))) == rolled


def test_the_restart_hash_does_not_hang_on_the_process(make, bare):
    """A hash that differs from run to run would roll every pod at each start of the operator."""
    pod = inference.workload(make(), bare)["spec"]["template"]
    assert pod["metadata"]["annotations"] == {RESTART_ANNOTATION: "90693be00e7e364c"}
