"""Settings come from the environment, and a wrong one is named."""

from pathlib import Path

import pytest

from holter_operator.build.given import Component
from holter_operator.settings import SettingError, read


def test_nothing_is_needed_but_the_version_is_the_image():
    found = read({})
    assert set(found.images) == set(Component)
    assert all(image.startswith("holter-services:") for image in found.images.values())
    assert (found.namespaces, found.influxdb, found.resync, found.workers) == ((), None, 600, 8)


def test_all_of_them():
    found = read(
        {
            "HOLTER_IMAGE": "registry/holter:2",
            "HOLTER_IMAGE_REFIT": "registry/refit:3",
            "HOLTER_IMAGE_PULL_POLICY": "Never",
            "HOLTER_WATCH_NAMESPACES": "st-mary, st-john\nst-anne",
            "HOLTER_INFLUXDB": "/etc/holter/influxdb",
            "HOLTER_LISTEN": "127.0.0.1",
            "HOLTER_PORT_METRICS": "0",
            "HOLTER_RESYNC_SECONDS": "1.5",
            "HOLTER_WORKERS": "2",
            "HOLTER_DELETION_SECONDS": "10",
            "HOLTER_LOG_LEVEL": "debug",
        }
    )
    assert found.images[Component.INGEST] == "registry/holter:2"
    assert found.images[Component.REFIT] == "registry/refit:3"
    assert found.image_pull_policy == "Never"
    assert found.namespaces == ("st-mary", "st-john", "st-anne")
    assert found.influxdb == Path("/etc/holter/influxdb")
    assert (found.listen, found.port, found.resync, found.workers) == ("127.0.0.1", 0, 1.5, 2)
    assert (found.deletion, found.log_level) == (10, "debug")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HOLTER_WATCH_NAMESPACES", "st-*", "'st-*' is no namespace"),
        ("HOLTER_IMAGE_PULL_POLICY", "Sometimes", "Always, IfNotPresent, Never"),
        ("HOLTER_RESYNC_SECONDS", "10m", "a number from 1 to 86400"),
        ("HOLTER_RESYNC_SECONDS", "nan", "a number from 1 to 86400"),
        ("HOLTER_WORKERS", "0", "a number from 1 to 64"),
        ("HOLTER_PORT_METRICS", "70000", "65535"),
        ("HOLTER_LOG_LEVEL", "loud", "debug, info, warning, error"),
    ],
)
def test_a_wrong_one_is_named(name, value, words):
    with pytest.raises(SettingError, match=name) as error:
        read({name: value})
    assert words in str(error.value)
