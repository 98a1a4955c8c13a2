"""What a measurement works with: where, and loads that run in processes of their own."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from holter.bench import usage
from holter.bench.bucket import Influx
from holter.bench.players import Plan, Sent
from holter.bench.services import Services


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage works with.

    Attributes:
        influx: the run's bucket.
        folder: for state and logs.
        quick: sizes that let all stages together end within two minutes.
        say: a line for whoever waits.
    """

    influx: Influx
    folder: Path
    quick: bool
    say: Callable[[str], None]


@dataclass(slots=True)
class Running:
    """A load under way in a process of its own."""

    process: "subprocess.Popen[str]"
    plan: Plan

    def wait(self) -> Sent:
        """What became of it.

        Raises:
            RuntimeError: it failed.
        """
        out, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(f"the load ({self.plan.transport}) ended with {self.process.returncode}")
        return Sent(**json.loads(out))


def play(plan: Plan) -> Running:
    """Start a load."""
    process = subprocess.Popen(
        [sys.executable, "-m", "holter.bench.players"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=usage.die_with_parent,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(plan)))
    process.stdin.close()
    process.stdin = None
    return Running(process, plan)


def key_of(services: Services) -> str:
    """As a plan wants it."""
    return base64.b64encode(services.key).decode()


def per(before: float | None, after: float | None, n: int) -> float | None:
    """µs a unit of what was used between two readings; None without them."""
    return None if before is None or after is None else 1e6 * (after - before) / max(n, 1)
