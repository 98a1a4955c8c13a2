"""What a receiver of webhooks gets, and the check of its signature (docs/alerts.md). Pure."""

import hmac
import re
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

TOLERANCE = 300.0
"""Seconds between a signature's time and ours beyond which it counts as a replay."""


class Alert(BaseModel):
    """One event in the life of one alert; unknown fields are let be."""

    model_config = ConfigDict(frozen=True)

    id: str
    alert: str
    event: Literal["raised", "updated", "cleared"]
    device_id: str
    category: Literal["physiological", "technical"]
    priority: Literal["high", "medium", "low"]
    kind: str
    onset: AwareDatetime
    decided_at: AwareDatetime
    reason: str
    model_revision: int = 0


def signed(secret: bytes, header: str, body: bytes, now: datetime) -> bool:
    """Whether a `Holter-Signature` is of this body and not more than `TOLERANCE` from now.

    Its form: `t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`.
    """
    match = re.fullmatch(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", header)
    if match is None or abs(now.timestamp() - int(match[1])) > TOLERANCE:
        return False
    expected = hmac.digest(secret, f"{match[1]}.".encode() + body, "sha256").hex()
    return hmac.compare_digest(expected, match[2])
