"""Why something is not taken: what the device is told, and what is counted."""

from typing import Any, Self

REASONS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method",
    413: "too_large",
    415: "content_type",
    429: "too_many",
    503: "unavailable",
}
"""The label of `holter_ingest_rejected_total`, by status code."""


class RefusalError(Exception):
    """A body, a line or a frame is not taken.

    Attributes:
        code: the HTTP status that says so.
        field: which field is at fault.
        reason: what is wrong with it and what would be right.
        value: what was found there, if that helps; at most a few characters of it.
        wait: seconds after which the same may be taken; None when it never will.
        device_id: who is refused; None where it is not said, or where it is not about one device.
    """

    device_id: str | None = None

    def __init__(self, code: int, field: str, reason: str, *, value: Any = None, wait: int | None = None) -> None:
        super().__init__(f"{field}: {reason}")
        self.code, self.field, self.reason, self.wait = code, _printable(field), reason, wait
        # Numbers as they are, all else short and as text: NaN is no JSON.
        self.value = value if value is None or (isinstance(value, int) and abs(value) < 1 << 53) else _short(value)

    def about(self, device_id: str) -> Self:
        """Say who is refused."""
        self.device_id = device_id
        return self

    def as_json(self) -> dict[str, Any]:
        """`{"field", "value"?, "reason", "retry_after"?}`."""
        told: dict[str, Any] = {"field": self.field, "reason": self.reason}
        if self.value is not None:
            told["value"] = self.value
        if self.wait is not None:
            told["retry_after"] = self.wait
        return told


def _short(value: Any) -> str | float:
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    text = value if isinstance(value, str) else repr(value)[:65]
    return _printable(text if len(text) <= 64 else text[:63] + "…")


def _printable(text: str) -> str:
    """Text that fits into JSON: a lone surrogate does not."""
    return text.encode(errors="replace").decode()
