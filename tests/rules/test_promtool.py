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


def rules():
    return {(name, rule["alert"]): rule for name, found in groups().items() for g in found for rule in g["rules"]}


def cases():
    for name in groups():
        for alert, found in YAML(typ="safe").load(HERE / f"{name}.yaml").items():
            for case in found:
                yield pytest.param(name, alert, case, id=f"{alert}: {case['name']}")


def promtool(*arguments):
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def put(path, document):
    path.write_text(json.dumps(document))  # JSON is YAML
    return path


@pytest.mark.parametrize("name", sorted(groups()))
def test_promtool_checks_them(tmp_path, name):
    promtool("check", "rules", put(tmp_path / "rules.yaml", {"groups": groups()[name]}))


@pytest.mark.parametrize(("name", "alert", "case"), tuple(cases()))
def test_it_fires_or_rests(tmp_path, name, alert, case):
    rule = rules()[name, alert]

    def filled(text):
        for word, matchers in MATCHERS.items():
            text = text.replace(word, matchers)
        return text

    def expected(labels):
        words = {f"{{{{ $labels.{key} }}}}": value for key, value in labels.items()}
        annotations = dict(rule["annotations"])
        for word, value in words.items():
            annotations = {key: text.replace(word, value) for key, text in annotations.items()}
        shown = {key: re.sub(r"\{\{ \$value[^}]*\}\}", str(case.get("value")), t) for key, t in annotations.items()}
        return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": shown}

    put(tmp_path / "rules.yaml", {"groups": groups()[name]})
    test = {
        "interval": "1m",
        "input_series": [{"series": filled(s), "values": v} for s, v in case["series"].items()],
        "alert_rule_test": [
            {"alertname": alert, "eval_time": case["at"], "exp_alerts": [expected(labels) for labels in case["fires"]]}
        ],
    }
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    promtool("test", "rules", put(tmp_path / "test.yaml", document))


def test_every_alert_has_a_case_that_fires_and_one_that_rests():
    fires, rests = set(), set()
    for name, alert, case in (parameter.values for parameter in cases()):
        (fires if case["fires"] else rests).add((name, alert))
    assert fires == rests == set(rules())


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
    for name, alert, case in (parameter.values for parameter in cases()):
        read = set(re.findall(r"\b(up|holter_\w+)\{", rules()[name, alert]["expr"]))
        fed = {series.partition("{")[0] for series in case["series"]}
        assert fed & read, (alert, case["name"])
