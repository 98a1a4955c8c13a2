"""The parts that the integration tests have, for a thousand cohorts."""

from tests.integration.conftest import cluster, connection, influxdb

__all__ = ["cluster", "connection", "influxdb"]
