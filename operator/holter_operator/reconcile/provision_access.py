"""Whether a connection can be one. It may come from a namespace's Secret, so nothing of it is trusted."""

from urllib.parse import urlsplit

from holter_operator.reconcile.provision_state import Access, Refused

_LONGEST = 2048


def unusable(access: Access) -> Refused | None:
    """Why a connection cannot be used; None when it can. The token is never told."""
    if (why := _url(access.url)) is not None:
        wrong = f"its url {why}; such as http://influxdb.monitoring:8086"
    elif not (access.org.isprintable() and access.org.strip() and len(access.org) <= _LONGEST):
        wrong = "its org is not the name of an organisation"
    elif not (_word(access.token)):
        wrong = "its token is not one word of printable characters"
    else:
        return None
    return Refused("InfluxDBConnectionInvalid", f"InfluxDB connection: {wrong}")


def _url(url: str) -> str | None:
    if not _word(url):
        return "is empty, too long, or no URL"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in ("http", "https"):
        return f"has scheme {parts.scheme!r}, not http or https"
    if not parts.hostname or port == 0:
        return "names no host, or port 0"
    if parts.username is not None:
        return "has a user or password in it: InfluxDB 2 takes the token alone"
    if parts.query or parts.fragment:
        return "has a query or fragment"
    return None


def _word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and 0 < len(text) <= _LONGEST
