"""The operator's rights are what docs/operator.md says that it calls: no more, no less."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "operator.md"
CLUSTER_ONLY = ("apiextensions.k8s.io", "customresourcedefinitions")


def called():
    """(group, resource, verb) of each call in the page's table."""
    section = PAGE.read_text().partition("## What it calls")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    header, _, *body = rows
    assert header[:3] == ["group", "resource", "verbs"]
    return {
        ("" if group == "(core)" else group, resource, verb)
        for group, resources, verbs, *_ in body
        for resource in re.split(r",\s*", resources)
        for verb in re.split(r",\s*", verbs)
    }


def granted(role):
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def by_kind(objects, kind, name):
    return [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]


def test_the_table_is_read():
    assert ("", "secrets", "get") in called()
    assert len(called()) > 50


def test_in_the_whole_cluster(helm):
    objects = helm.template()
    (role,) = by_kind(objects, "ClusterRole", "holter-operator")
    assert granted(role) == called()
    assert not [each for each in objects if each["kind"] == "Role"]
    (binding,) = by_kind(objects, "ClusterRoleBinding", "holter-operator")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "holter-operator", "namespace": helm.namespace}]


def test_in_some_namespaces(helm):
    objects = helm.template({"watchNamespaces": ["a", "b"], "rbac": {"aggregate": False}})
    assert not [each for each in objects if each["kind"].startswith("ClusterRole")]
    roles = by_kind(objects, "Role", "holter-operator")
    assert [role["metadata"]["namespace"] for role in roles] == ["a", "b"]
    for role in roles:
        assert granted(role) == {call for call in called() if call[:2] != CLUSTER_ONLY}
    bindings = by_kind(objects, "RoleBinding", "holter-operator")
    assert [binding["metadata"]["namespace"] for binding in bindings] == ["a", "b"]
    for binding in bindings:
        (subject,) = binding["subjects"]
        assert subject["namespace"] == helm.namespace
        assert binding["roleRef"]["name"] == "holter-operator"


def test_nothing_is_granted_by_a_star(helm):
    for each in helm.template():
        for rule in each.get("rules", ()):
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}


@pytest.mark.parametrize("name", ["holter-view", "holter-edit"])
def test_built_in_roles_take_ours_in(helm, name):
    (role,) = by_kind(helm.template(), "ClusterRole", name)
    to = {label.rpartition("-to-")[2] for label in role["metadata"]["labels"] if "aggregate-to" in label}
    assert to == ({"view", "edit", "admin"} if name == "holter-view" else {"edit", "admin"})
    writes = {verb for _, _, verb in granted(role)} - {"get", "list", "watch"}
    assert bool(writes) == (name == "holter-edit")
    assert {group for group, _, _ in granted(role)} == {"holter.dev"}
    # Status is the operator's to write.
    assert ("holter.dev", "monitoredcohorts/status", "patch") not in granted(role)


def test_the_hook_lists_and_deletes_cohorts_and_nothing_else(helm):
    wanted = {("holter.dev", "monitoredcohorts", verb) for verb in ("list", "delete")}
    (role,) = by_kind(helm.template(), "ClusterRole", "holter-uninstall")
    assert granted(role) == wanted
    for role in by_kind(helm.template({"watchNamespaces": ["a"]}), "Role", "holter-uninstall"):
        assert granted(role) == wanted
