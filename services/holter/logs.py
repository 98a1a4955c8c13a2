"""Structured logs: one JSON object a line on standard error; no patient data but the device id."""

import logging
import sys

import structlog


def configure(service: str, *, level: int = logging.INFO) -> None:
    """Set up logging of this process; each line carries the service's name, RFC 3339 time, level and event."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
