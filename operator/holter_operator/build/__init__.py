"""Pure builders: one file per kind of child, from a validated cohort to the desired object.

`everything.objects(cohort, given)` is the whole.
"""
