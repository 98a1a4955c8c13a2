"""What the steps speak of."""

import sys

SYSTEM, WARD = "holter-system", "holter-e2e"
SIGNING_KEY = "a key that the receiver has too"
LITTLE = {"resources": {"requests": {"cpu": "20m", "memory": "128Mi"}}}
"""A node of two cores has to do."""


def cohort(name, **spec):
    """A cohort in the ward's namespace."""
    return {
        "apiVersion": "holter.dev/v1alpha1",
        "kind": "MonitoredCohort",
        "metadata": {"name": name, "namespace": WARD},
        "spec": spec,
    }


def said(capsys, line):
    """Tell a figure, however the tests are run."""
    with capsys.disabled():
        sys.stdout.write(f"\n  {line}")
