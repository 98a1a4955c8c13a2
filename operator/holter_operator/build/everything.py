"""All children of a cohort, in the order in which they are applied."""

from copy import deepcopy

from holter_operator.api.cohort import Cohort
from holter_operator.build import (
    config,
    console,
    dashboards,
    hpa,
    inference,
    ingest,
    models,
    networkpolicies,
    pdb,
    podmonitor,
    prometheusrule,
    refit,
    secrets,
    serviceaccounts,
    services,
)
from holter_operator.build.given import Given
from holter_operator.build.meta import Object


def objects(cohort: Cohort, given: Given) -> tuple[Object, ...]:
    """Every object that should exist for this cohort; what is not here should not.

    Pure: the same cohort and given build equal objects. Rights, policies and settings come before their pods.

    Raises:
        KeyError: `given.images` lacks a component that the cohort runs.
    """
    desired: tuple[Object | None, ...] = (
        *serviceaccounts.accounts(cohort, given),
        refit.role(cohort, given),
        refit.role_binding(cohort, given),
        *networkpolicies.policies(cohort, given),
        secrets.device_key(cohort, given),
        *secrets.connections(cohort, given),
        secrets.console_tokens(cohort, given),
        config.services(cohort, given),
        refit.candidate(cohort, given),
        *models.revisions(cohort, given),
        models.current(cohort, given),
        services.devices(cohort, given),
        services.ingest_pods(cohort, given),
        services.inference_pods(cohort, given),
        services.ward(cohort, given),
        pdb.ingest(cohort, given),
        pdb.inference(cohort, given),
        ingest.workload(cohort, given),
        inference.workload(cohort, given),
        console.workload(cohort, given),
        hpa.autoscaler(cohort, given),
        refit.cronjob(cohort, given),
        podmonitor.pod_monitor(cohort, given),
        prometheusrule.prometheus_rule(cohort, given),
        dashboards.dashboards(cohort, given),
    )
    # A copy: whoever edits an object must not edit the cohort, or the next build.
    return tuple(deepcopy(built) for built in desired if built is not None)
