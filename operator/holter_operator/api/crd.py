"""The MonitoredCohort's CRD: in the package of a wheel, in the repository's `crds/` in an editable checkout."""

from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

GROUP = "holter.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "MonitoredCohort"
PLURAL = "monitoredcohorts"
_FILE = f"{PLURAL}.{GROUP}.yaml"


def path() -> Path:
    """The file that holds the CRD.

    Raises:
        FileNotFoundError: the installation is not complete.
    """
    here = Path(__file__).resolve()
    places = (here.parents[1] / "crds" / _FILE, here.parents[3] / "crds" / _FILE)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{_FILE} is neither in {places[0].parent} nor in {places[1].parent}: install holter again")


@cache
def load() -> dict[str, Any]:
    """The CRD. One shared object: not to be changed."""
    document: dict[str, Any] = YAML(typ="safe").load(path())
    return document


def schema() -> dict[str, Any]:
    """The structural schema (`openAPIV3Schema`) of `API_VERSION`. One shared object: not to be changed."""
    found: dict[str, Any] = next(v for v in load()["spec"]["versions"] if v["name"] == VERSION)["schema"][
        "openAPIV3Schema"
    ]
    return found
