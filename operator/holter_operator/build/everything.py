"""All children of a cohort, in the order in which they are applied."""

from holter_operator.api.cohort import Cohort
from holter_operator.build.given import Given
from holter_operator.build.meta import Object


def objects(cohort: Cohort, given: Given) -> tuple[Object, ...]:
    """Every object that should exist for this cohort; what is not here should not.

    Pure: the same cohort and given build equal objects.
    """
    return ()
