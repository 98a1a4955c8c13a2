"""helm, and what it renders."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

CHART = Path(__file__).parents[2] / "charts" / "holter"
KUBE = "1.35.0"
RELEASE, NAMESPACE = "holter", "holter-system"


class HelmError(Exception):
    pass


class Helm:
    chart = CHART
    namespace = NAMESPACE

    def run(self, *arguments, stdin=None):
        command = ["helm", *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HelmError(done.stderr)
        return done.stdout

    def template(self, values=None, *, release=RELEASE):
        """All objects, hooks too, as dictionaries."""
        arguments = ("template", release, self.chart, "-n", NAMESPACE, "--kube-version", KUBE, "-f", "-")
        text = self.run(*arguments, stdin=json.dumps(values or {}))
        return [each for each in YAML(typ="safe").load_all(text) if each]


@pytest.fixture(scope="session")
def helm():
    if not shutil.which("helm"):
        pytest.skip("helm is not on PATH")
    return Helm()


@pytest.fixture(scope="session")
def refused():
    return HelmError
