"""promtool on all rules: they are well formed, and each fires when it should and rests when it should not."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.rules.given import NAMESPACE, OPERATOR, SERVICE, everything, tool

from holter.alert import Kind
from holter_operator.build.given import PROMETHEUS_RULE
from holter_operator.build.monitoring import operator_rules
from holter_operator.build.monitoring.rule import RUNBOOKS, group

HERE, DOCS = Path(__file__).parent, Path(__file__).parents[2] / "docs"
MATCHERS = {
    "COHORT": 'namespace="st-mary",cohort="ward"',
    "TARGET": 'namespace="st-mary",app_kubernetes_io_instance="ward"',
    "OPERATOR": OPERATOR,
}


@cache
def groups():
    """Every rule group, by the file that has its cases."""
    (built,) = [each for each in everything() if each["kind"] == PROMETHEUS_RULE.rpartition("/")[2]]
    operator = group("holter-operator", f"{NAMESPACE}/{SERVICE}", operator_rules.rules(NAMESPACE, SERVICE), {})
    return {"cohort": built["spec"]["groups"], "operator": [operator]}


@cache
def rules():
    return {(name, rule["alert"]): rule for name, found in groups().items() for g in found for rule in g["rules"]}


@cache
def cases():
    """(file, alert) → its cases."""
    return {
        (name, alert): found
        for name in groups()
        for alert, found in YAML(typ="safe").load(HERE / f"{name}.yaml").items()
    }


def promtool(*arguments):
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def put(path, document):
    path.write_text(json.dumps(document))  # JSON is YAML
    return path


@pytest.mark.parametrize("name", sorted(groups()))
def test_promtool_checks_them(tmp_path, name):
    promtool("check", "rules", put(tmp_path / "rules.yaml", {"groups": groups()[name]}))


def filled(text):
    for word, matchers in MATCHERS.items():
        text = text.replace(word, matchers)
    return text


def expected(rule, labels, value):
    """An alert as promtool has it: with all its labels, and annotations as Prometheus fills them in."""
    annotations = {}
    for key, text in rule["annotations"].items():
        for label, found in labels.items():
            text = text.replace(f"{{{{ $labels.{label} }}}}", found)
        annotations[key] = re.sub(r"\{\{ \$value[^}]*\}\}", str(value), text)
    return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": annotations}


@pytest.mark.parametrize(("name", "alert"), list(cases()), ids=[alert for _, alert in cases()])
def test_it_fires_and_it_rests(tmp_path, name, alert):
    rule = rules()[name, alert]
    put(tmp_path / "rules.yaml", {"groups": [{"name": "one", "rules": [rule]}]})
    tests = [
        {
            "name": case["name"],
            "interval": "1m",
            "input_series": [{"series": filled(s), "values": v} for s, v in case["series"].items()],
            "alert_rule_test": [
                {
                    "alertname": alert,
                    "eval_time": case["at"],
                    "exp_alerts": [expected(rule, labels, case.get("value")) for labels in case["fires"]],
                }
            ],
        }
        for case in cases()[name, alert]
    ]
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    promtool("test", "rules", put(tmp_path / "test.yaml", document))


def test_every_alert_has_a_case_that_fires_and_one_that_rests():
    assert set(cases()) == set(rules())
    for alert, found in cases().items():
        assert {bool(case["fires"]) for case in found} == {True, False}, alert


def test_every_alert_has_a_runbook_and_every_runbook_its_alert():
    named = {rule["alert"] for rule in rules().values()}
    assert {rule["annotations"]["runbook_url"] for rule in rules().values()} == {f"{RUNBOOKS}/{a}/" for a in named}
    assert {path.stem for path in (DOCS / "runbooks").glob("*.md")} - {"index"} == named
    for alert in sorted(named):
        text = (DOCS / "runbooks" / f"{alert}.md").read_text()
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Meaning", "Impact", "Diagnosis", "Mitigation"], alert
        assert text.startswith(f"# {alert}\n"), alert
        assert len(text) > 500, alert


def test_no_alert_on_holter_has_the_name_of_one_on_a_patient():
    """Both may come to one Alertmanager."""
    of_patients = {"Holter" + "".join(word.capitalize() for word in kind.split("_")) for kind in Kind}
    assert not of_patients & {alert for _, alert in rules()}


def test_alerts_say_who_and_what():
    for rule in rules().values():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_metrics_of_the_rules_are_those_that_cases_use():
    """A case that feeds a misspelt metric would show nothing: it has to be one that the rule reads."""
    for alert, found in cases().items():
        read = set(re.findall(r"\b(up|holter_\w+|process_\w+)\{", rules()[alert]["expr"]))
        for case in found:
            assert {series.partition("{")[0] for series in case["series"]} & read, (alert, case["name"])
