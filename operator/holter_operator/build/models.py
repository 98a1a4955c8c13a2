"""ConfigMaps of accepted models: the one in use, which changes, and each revision, which never does."""

from base64 import b64encode

from holter_operator.api import crd
from holter_operator.api.cohort import Cohort
from holter_operator.build import names
from holter_operator.build.given import Component, Given, ModelFiles
from holter_operator.build.meta import Object, child

REVISION_LABEL = f"{crd.GROUP}/model-revision"


def current(cohort: Cohort, given: Given) -> Object | None:
    """`<cohort>-model`, which the worker swaps to without a restart."""
    return _files(names.model(cohort), cohort, given, given.model) if given.model else None


def revisions(cohort: Cohort, given: Given) -> tuple[Object, ...]:
    """`<cohort>-model-r<N>`: the newest ones, and the one in use, oldest first."""
    newest = sorted(given.history, key=lambda model: model.revision)[-cohort.spec.refit.keep_revisions :]
    kept = {model.revision: model for model in (*newest, *((given.model,) if given.model else ()))}
    return tuple(
        _files(names.revision(cohort, number), cohort, given, kept[number]) | {"immutable": True}
        for number in sorted(kept)
    )


def _files(name: str, cohort: Cohort, given: Given, model: ModelFiles) -> Object:
    label = {REVISION_LABEL: str(model.revision)}
    built = child("v1", "ConfigMap", name, cohort, given, Component.REFIT, extra_labels=label)
    built["data"] = {"model.json": model.document}
    built["binaryData"] = {"model.npz": b64encode(model.arrays).decode()}
    return built
