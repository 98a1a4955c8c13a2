"""How PromQL names what one cohort's pods tell."""

from holter_operator.api.cohort import Cohort
from holter_operator.build.podmonitor import INSTANCE_LABEL


class Series:
    """Selectors of one cohort: `of("holter_…")` for what a service counts."""

    def __init__(self, cohort: Cohort) -> None:
        self._matchers = f'namespace="{cohort.namespace}",cohort="{cohort.name}"'
        self._target = f'namespace="{cohort.namespace}",{INSTANCE_LABEL}="{cohort.name}"'

    def __call__(self, metric: str, more: str = "") -> str:
        """Of a metric that says its cohort; `more` matchers go behind."""
        return f"{metric}{{{self._matchers}{',' if more else ''}{more}}}"

    def process(self, metric: str, more: str = "") -> str:
        """Of the processes themselves, which carry no cohort but their pods' labels."""
        return f"{metric}{{{self._target}{',' if more else ''}{more}}}"
