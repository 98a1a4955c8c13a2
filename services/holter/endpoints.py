"""Cohorts that run on this machine: what `holter up` writes to `<state>/endpoints.json` while they do."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

STATES = Path(".holter")
"""Where `holter up` keeps its state folders, below the folder it is called in."""
_FILE = "endpoints.json"


class EndpointsError(Exception):
    """No cohort, or more than one, is meant; the message says what would be right."""


class Endpoints(BaseModel):
    """Addresses of a running cohort; unknown keys are let be."""

    model_config = ConfigDict(frozen=True)

    ingest: str
    udp: str | None = None
    store: str | None = None
    device_keys: Path | None = None
    console: str | None = None
    console_tokens: Path | None = None
    pid: int | None = None

    @property
    def runs(self) -> bool:
        """Whether the `holter up` that wrote it is still there: one that was killed could not remove it."""
        if self.pid is None:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def read(state: Path) -> Endpoints:
    """The endpoints of one state folder.

    Raises:
        EndpointsError: there are none, or they are not readable.
    """
    try:
        return Endpoints.model_validate_json((state / _FILE).read_bytes())
    except OSError as error:
        raise EndpointsError(
            f"{state}: {_FILE}: {error.strerror}; the state folder of a running `holter up` is expected"
        ) from error
    except ValidationError as error:
        raise EndpointsError(f"{state / _FILE}: {error}") from error


def find(states: Path = STATES) -> Endpoints | None:
    """The one cohort that runs from this folder, None when none does.

    Raises:
        EndpointsError: several run; the message names their folders.
    """
    found = {path.parent: read(path.parent) for path in sorted(states.glob(f"*/{_FILE}"))}
    running = {state: endpoints for state, endpoints in found.items() if endpoints.runs}
    if len(running) > 1:
        raise EndpointsError(f"{len(running)} cohorts run here: choose one of {', '.join(map(str, running))}")
    return next(iter(running.values()), None)
