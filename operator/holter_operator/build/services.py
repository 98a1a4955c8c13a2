"""Services: how devices reach ingest and nurses the console; headless ones, through which pods find each other."""

from holter_operator.api.cohort import Cohort
from holter_operator.build import console, ingest, names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child, selector
from holter_operator.build.pods import METRICS, Port


def devices(cohort: Cohort, given: Given) -> Object:
    """The Service of ingest. A device stays with one pod: without `t0`, that pod continues its clock."""
    spec = cohort.spec.ingest
    name = names.component(cohort, Component.INGEST)
    facing = [port for port in ingest.ports(cohort) if port.name in ("http", "udp")]
    built = child("v1", "Service", name, cohort, given, Component.INGEST, annotations=spec.service.annotations)
    built["spec"] = {
        "type": spec.service.type,
        "selector": selector(cohort, Component.INGEST),
        "sessionAffinity": "ClientIP",
        "ports": [_port(port) for port in facing],
    }
    return built


def ingest_pods(cohort: Cohort, given: Given) -> Object:
    """The headless Service of ingest."""
    return _headless(cohort, given, Component.INGEST, ingest.ports(cohort))


def inference_pods(cohort: Cohort, given: Given) -> Object:
    """The headless Service of the workers."""
    return _headless(cohort, given, Component.INFERENCE, (METRICS,))


def ward(cohort: Cohort, given: Given) -> Object | None:
    """The Service of the console."""
    if not console.wanted(cohort, given):
        return None
    built = child("v1", "Service", names.component(cohort, Component.CONSOLE), cohort, given, Component.CONSOLE)
    built["spec"] = {
        "type": "ClusterIP",
        "selector": selector(cohort, Component.CONSOLE),
        "ports": [_port(console.HTTP_PORT)],
    }
    return built


def _headless(cohort: Cohort, given: Given, component: Component, ports: tuple[Port, ...]) -> Object:
    built = child("v1", "Service", names.headless(cohort, component), cohort, given, component)
    built["spec"] = {
        "clusterIP": "None",
        "selector": selector(cohort, component),
        "publishNotReadyAddresses": True,  # one that drains or waits for its store still has chunks to give
        "ports": [_port(port) for port in ports],
    }
    return built


def _port(port: Port) -> Object:
    return {"name": port.name, "port": port.number, "targetPort": port.name, "protocol": port.protocol}
