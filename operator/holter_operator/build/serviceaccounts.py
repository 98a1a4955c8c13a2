"""A ServiceAccount for each component, with no token mounted."""

from holter_operator.api.cohort import Cohort
from holter_operator.build import console, names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child


def components(cohort: Cohort, given: Given) -> tuple[Component, ...]:
    """The components that this cohort runs."""
    return tuple(
        component for component in Component if component is not Component.CONSOLE or console.wanted(cohort, given)
    )


def accounts(cohort: Cohort, given: Given) -> tuple[Object, ...]:
    """The ServiceAccounts."""
    return tuple(
        child("v1", "ServiceAccount", names.component(cohort, component), cohort, given, component)
        | {"automountServiceAccountToken": False}
        for component in components(cohort, given)
    )
