"""An influxd of one's own, on a free port, that can be told how to compact and be killed."""
# mypy: disable-error-code="no-untyped-call"

import os
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.onboarding_request import OnboardingRequest
from influxdb_client.service.setup_service import SetupService

from holter.bench import usage
from holter.bench.services import free_port


class Influxd:
    """A process; its data outlives `kill` and the next `start`.

    Args:
        program: influxd 2.7.
        folder: for its files; made.
        settings: `INFLUXD_…` variables besides.
    """

    org, token = "bench", "bench-token"

    def __init__(self, program: Path, folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._program, self._log = program, folder / "influxd.log"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._environment = os.environ | {
            "INFLUXD_BOLT_PATH": str(folder / "bolt"),
            "INFLUXD_SQLITE_PATH": str(folder / "sqlite"),
            "INFLUXD_ENGINE_PATH": str(folder / "engine"),
            "INFLUXD_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
            "INFLUXD_REPORTING_DISABLED": "true",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process, once started."""
        assert self._process is not None
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """What `holter.bench.bucket.own_bucket` looks for."""
        return {"INFLUXDB_URL": self.url, "INFLUXDB_ORG": self.org, "INFLUXDB_TOKEN": self.token}

    def start(self) -> None:
        """Start it and wait until it answers; the first time it is set up.

        Raises:
            RuntimeError: it ended, or does not answer within a minute.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - named by the caller
                [self._program], env=self._environment, stdout=log, stderr=log, preexec_fn=usage.die_with_parent
            )
        until = time.monotonic() + 60
        while True:
            try:
                urlopen(f"{self.url}/health", timeout=5).close()  # noqa: S310 - it is our own
                break
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"influxd does not start:\n{self._log.read_text()[-2000:]}") from None
                time.sleep(0.1)
        with InfluxDBClient(self.url, "") as client:
            setup = SetupService(client.api_client)
            if setup.get_setup().allowed:
                setup.post_setup(OnboardingRequest("bench", self.token, self.org, "b", token=self.token))

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
