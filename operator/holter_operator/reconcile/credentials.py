"""What devices and nurses get in with: the device key, made once and never anew, and the console's tokens."""

import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import replace

from holter_operator.api import crd
from holter_operator.api.cohort import Cohort
from holter_operator.build import names
from holter_operator.build import secrets as building
from holter_operator.build.given import Component, ConsoleTokens, DeviceKey, Given
from holter_operator.build.meta import Object
from holter_operator.io.events import Events
from holter_operator.reconcile.children import KEPT, Children
from holter_operator.reconcile.kinds import SECRET
from holter_operator.reconcile.live import Key, Live, Read, opened
from holter_operator.reconcile.status import Problem

ISSUED = f"{crd.GROUP}/device-key-issued"
"""Annotation: the cohort has been Ready with its device key, which from then on is never made anew."""


class Credentials:
    """The steps of a pass that are about them."""

    def __init__(self, children: Children, events: Events, read: Read) -> None:
        self._children = children
        self._events = events
        self._read = read

    def device_key(self, document: Object, cohort: Cohort, given: Given, live: Mapping[Key, Live]) -> Problem | None:
        """Make the key once. Made anew, it would lock every wearable out.

        Raises:
            KubeError: the Secret cannot be read or made.
        """
        if not generated(cohort):
            return None
        name = names.device_key(cohort)
        data = self._kept(cohort, name, live)
        if data is not None:
            if not _is_key(data.get("current", "")):
                where = f"Secret {name}, key current"
                return Problem("DeviceKeyInvalid", f"{where}: not 32 bytes in base64url, so no device can be checked")
            return None
        if ISSUED in document["metadata"].get("annotations", {}):
            message = (
                f"Secret {name} is gone, and every wearable's token hangs on it: put it back from a backup;"
                f" to issue a new key, and new tokens to all devices, remove the annotation {ISSUED} from the cohort"
            )
            self._events.tell(document, "DeviceKeyLost", message, warning=True)
            return Problem("DeviceKeyLost", message)
        key = DeviceKey(urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode())
        built = building.device_key(cohort, replace(given, device_key=key))
        assert built is not None
        built["metadata"]["labels"][KEPT] = "true"
        self._children.create(built)
        return None

    def console(self, cohort: Cohort, live: Mapping[Key, Live]) -> ConsoleTokens | None:
        """The tokens as their Secret has them, so that an edit is a rotation; what it lacks is made anew.

        Raises:
            KubeError: the Secret cannot be read.
        """
        if not cohort.spec.console.enabled:
            return None
        held = self._kept(cohort, names.component(cohort, Component.CONSOLE), live) or {}
        return ConsoleTokens(**{right: held.get(right, "").strip() or token() for right in ("view", "acknowledge")})

    def _kept(self, cohort: Cohort, name: str, live: Mapping[Key, Live]) -> Mapping[str, str] | None:
        """A Secret's values. One put back without our labels is not told of: it is looked for, before it is made."""
        found = live.get((SECRET.plural, cohort.namespace, name))
        return opened(found, self._read) if found else self._read(cohort.namespace, name)


def generated(cohort: Cohort) -> bool:
    """Whether the device key is the operator's to make."""
    return cohort.spec.access.mode == "Token" and not cohort.spec.access.key_secret_ref


def token() -> str:
    """One that nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


def _is_key(text: str) -> bool:
    try:
        return len(b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)) == 32
    except ValueError:
        return False
