"""The certificate of a TLS port: a mounted folder of `tls.crt` and `tls.key`, loaded again when it is renewed."""

import ssl
from pathlib import Path


def context(folder: Path | None) -> ssl.SSLContext | None:
    """What a server presents, None where it speaks plain HTTP.

    Raises:
        OSError: a file is missing or is no certificate or key (ssl.SSLError).
    """
    if folder is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(made, folder)
    return made


def load(made: ssl.SSLContext, folder: Path) -> None:
    """Take the certificate as it is now; connections from here on present it. Raises as `context`."""
    made.load_cert_chain(folder / "tls.crt", folder / "tls.key")
