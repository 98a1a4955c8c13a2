"""Where a running cohort can be reached: `endpoints.json`, for other tools and for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holter_operator.local.specs import Plan


def endpoints(plan: Plan, *, store: str, pid: int) -> dict[str, Any]:
    """Addresses of what runs; a key is missing where the cohort has no such thing.

    Args:
        plan: what runs.
        store: HOLTER_STORE of the services.
        pid: of `holter up`.
    """
    found: dict[str, Any] = {
        "metrics": {
            p.name: f"http://127.0.0.1:{p.ports['metrics']}/metrics" for p in plan.processes if "metrics" in p.ports
        },
        "store": store,
        "pid": pid,
    }
    for process in plan.processes:
        scheme = "https" if process.env.get("HOLTER_TLS") else "http"
        if "http" in process.ports:
            found[process.name] = f"{scheme}://127.0.0.1:{process.ports['http']}"
        if "udp" in process.ports:
            found["udp"] = f"127.0.0.1:{process.ports['udp']}"
        if "HOLTER_DEVICE_KEYS" in process.env:
            found["device_keys"] = process.env["HOLTER_DEVICE_KEYS"]
        if "HOLTER_CONSOLE_TOKENS" in process.env:
            found["console_tokens"] = process.env["HOLTER_CONSOLE_TOKENS"]
    return found


def console_link(where: Mapping[str, Any]) -> str | None:
    """The console's address for those who look; the token is in the fragment, which browsers send to nobody.

    Args:
        where: `endpoints.json`.
    """
    if "console" not in where:
        return None
    return f"{where['console']}/#token={(Path(where['console_tokens']) / 'view').read_text().strip()}"
