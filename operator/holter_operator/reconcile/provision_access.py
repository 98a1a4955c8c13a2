"""What Secrets say of InfluxDB: a namespace's own connection, and a component's token."""

from base64 import b64decode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from holter_operator.reconcile.provision_state import Access, Refused

_LONGEST = 2048


def read_access(secret: Mapping[str, Any] | None, where: str) -> Access | Refused:
    """A connection from a Secret with the keys url, org and token.

    Args:
        secret: the object, as the API server gives it; None when there is none.
        where: what it is called, for messages: `Secret st-mary/influxdb`.
    """
    if secret is None:
        return Refused("InfluxDBConnectionMissing", f"{where} does not exist: it needs the keys url, org and token")
    found = {key: _text(secret, key) for key in ("url", "org", "token")}
    if missing := [key for key, value in found.items() if not value]:
        return Refused("InfluxDBConnectionInvalid", f"{where}: {', '.join(missing)} missing or empty, or no text")
    return access(str(found["url"]), str(found["org"]), str(found["token"]), where)


def access(url: str, org: str, token: str, where: str) -> Access | Refused:
    """A connection, if it can be one; `where` is what it was read from, for messages."""
    if not (token.isascii() and token.isprintable() and " " not in token and 0 < len(token) <= _LONGEST):
        # Nothing of it is told.
        return Refused("InfluxDBConnectionInvalid", f"{where}: token is not one line of printable characters")
    if not (org.isprintable() and 0 < len(org) <= _LONGEST):
        return Refused("InfluxDBConnectionInvalid", f"{where}: org is not the name of an organisation")
    if (why := _wrong(url)) is not None:
        return Refused("InfluxDBConnectionInvalid", f"{where}: url {why}; such as http://influxdb.monitoring:8086")
    return Access(url.rstrip("/"), org, token)


def read_token(secret: Mapping[str, Any] | None) -> str | None:
    """The token in a component's Secret; None when there is none, or nothing that can be one."""
    return None if secret is None else _text(secret, "token")


def _wrong(url: str) -> str | None:
    if len(url) > _LONGEST or not (url.isascii() and url.isprintable() and " " not in url):
        return "is not one"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not one"
    if parts.scheme not in ("http", "https"):
        return f"has scheme {parts.scheme!r}, not http or https"
    if not parts.hostname or port == 0:
        return "names no host, or port 0"
    if parts.username is not None or parts.password is not None:
        return "has a user or password in it, which belong nowhere: InfluxDB 2 takes the token"
    if parts.query or parts.fragment:
        return "has a query or fragment"
    return None


def _text(secret: Mapping[str, Any], key: str) -> str | None:
    try:
        return b64decode((secret.get("data") or {})[key], validate=True).decode().strip() or None
    except (KeyError, TypeError, ValueError):
        return None
