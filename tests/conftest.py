import pytest
from hypothesis import HealthCheck, settings

# A shared machine's pauses are no fault of what is tested.
settings.register_profile("noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("noisy")


@pytest.fixture
def receiver():
    """Gets webhooks."""
    from tests.receiver import Receiver

    with Receiver() as receiver:
        yield receiver
