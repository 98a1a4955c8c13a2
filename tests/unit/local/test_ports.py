"""Which port each container port gets."""

import pytest

from holter_operator.local.manifests import PortWish
from holter_operator.local.ports import PortError, allocate

HTTP = PortWish("ingest", "http", 8080, udp=False)
METRICS = PortWish("ingest", "metrics", 9090, udp=False)
OTHER = PortWish("inference", "metrics", 9090, udp=False)


def give(*wishes, taken=(), saved=None, chosen=None, held=None):
    anything = iter(range(30001, 30100))

    def free(udp, number):
        return next(anything) if number == 0 else (None if number in taken else number)

    return allocate(wishes, free=free, saved=saved or {}, chosen=chosen or {}, held=held or {})


def test_device_ports_are_the_manifests_and_metrics_ports_any():
    assert give(HTTP, METRICS, OTHER) == {
        "ingest.http": 8080,
        "ingest.metrics": 30001,
        "inference.metrics": 30002,
    }


def test_a_saved_port_is_kept_while_it_is_free_or_our_own():
    saved = {"ingest.metrics": 25000}
    assert give(METRICS, saved=saved)["ingest.metrics"] == 25000
    assert give(METRICS, saved=saved, taken={25000})["ingest.metrics"] == 30001
    assert give(METRICS, saved=saved, taken={25000}, held=saved)["ingest.metrics"] == 25000


def test_a_taken_device_port_says_what_to_do():
    with pytest.raises(PortError, match=r"ingest needs TCP port 8080 \(http\).*--port ingest.http=NUMBER"):
        give(HTTP, taken={8080})


def test_our_own_process_may_go_on_listening():
    assert give(HTTP, taken={8080}, held={"ingest.http": 8080}) == {"ingest.http": 8080}


def test_the_user_chooses_by_name_or_by_component_and_name():
    assert give(HTTP, chosen={"http": 8090}) == {"ingest.http": 8090}
    assert give(HTTP, chosen={"http": 0}) == {"ingest.http": 30001}
    assert give(METRICS, OTHER, chosen={"inference.metrics": 9099}) == {
        "ingest.metrics": 30001,
        "inference.metrics": 9099,
    }


def test_a_port_name_that_two_components_have_means_the_first():
    console = PortWish("console", "http", 8088, udp=False)
    assert give(HTTP, console, chosen={"http": 8090}) == {"ingest.http": 8090, "console.http": 8088}
    assert give(HTTP, console, chosen={"console.http": 8091}) == {"ingest.http": 8080, "console.http": 8091}
