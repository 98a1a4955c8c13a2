"""What the chart ships for Prometheus and Grafana: `python -m scripts.chart_files` writes it.

A test holds the files to it. The chart puts its release's namespace and Service where the placeholders are.
"""

import io
import json
from pathlib import Path

from ruamel.yaml import YAML

from holter_operator.build.monitoring import operator_dashboard, operator_rules
from holter_operator.build.monitoring.rule import group

FOLDER = Path(__file__).parents[1] / "charts" / "holter" / "files"
NAMESPACE, SERVICE = "RELEASE-NAMESPACE", "OPERATOR-SERVICE"


def files() -> dict[str, str]:
    """Contents by name."""
    rules = group("holter-operator", f"{NAMESPACE}/{SERVICE}", operator_rules.rules(NAMESPACE, SERVICE), {})
    yaml, text = YAML(), io.StringIO()
    yaml.width = 100_000
    text.write("# Written by scripts/chart_files.py.\n")
    yaml.dump([rules], text)
    return {
        "operator-rules.yaml": text.getvalue(),
        "operator-dashboard.json": json.dumps(operator_dashboard.content(), indent=1) + "\n",
    }


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_text(content)
