"""Keys per device, derived and never looked up: what a device sends with JSON, and what signs its frames."""

import base64
import binascii
import hmac
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

KEY_BYTES = 32
MAC_BYTES = 8
"""Of a frame's MAC."""
_CACHED_DEVICES = 16_384


class KeyFileError(Exception):
    """A key file is missing or wrong; the message names it and what would be right."""


def bearer(key: bytes, device_id: str) -> str:
    """The token of `Authorization: Bearer …`: unpadded base64url of HMAC-SHA256(key, "bearer:" + id)."""
    return base64.urlsafe_b64encode(_derive(key, "bearer", device_id)).rstrip(b"=").decode()


def mac_key(key: bytes, device_id: str) -> bytes:
    """The 32 bytes that sign this device's frames: HMAC-SHA256(key, "mac:" + id)."""
    return _derive(key, "mac", device_id)


class Signer:
    """HMAC-SHA256 with one key, whose two blocks are hashed once: half the time of `hmac.digest` for a frame."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        """Args: the key, 32 bytes."""
        block = key.ljust(sha256().block_size, b"\0")
        self._inner, self._outer = sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))

    def mac(self, signed: bytes) -> bytes:
        """The MAC of a frame: the first 8 bytes of HMAC-SHA256 over its header and samples."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(signed)
        outer.update(inner.digest())
        return outer.digest()[:MAC_BYTES]


# RFC 2104: the key, padded to a block, XOR these bytes.
_INNER, _OUTER = (bytes(b ^ pad for b in range(256)) for pad in (0x36, 0x5C))


def feed_keys(keys: "DeviceKeys | None") -> tuple[bytes, ...]:
    """By what ingest and workers know each other on the feed, the current first: HMAC-SHA256(key, "feed:").

    Without device keys (access mode Open) a key that everybody knows: the NetworkPolicy alone keeps others out.
    """
    return (bytes(KEY_BYTES),) if keys is None else tuple(_derive(key, "feed", "") for key in keys.each())


def _derive(key: bytes, purpose: str, device_id: str) -> bytes:
    return hmac.digest(key, f"{purpose}:{device_id}".encode(), "sha256")


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """A cohort's device keys: rotation moves `current` to `previous`, and both are valid.

    Attributes:
        current: 32 bytes.
        previous: 32 bytes, or None before the first rotation.
    """

    current: bytes
    previous: bytes | None = None

    def allows_bearer(self, device_id: str, token: str) -> bool:
        """Whether `token` is this device's, under either key; compared in constant time."""
        given = token.encode(errors="replace")
        return any(hmac.compare_digest(given, expected) for expected in _bearers(self, device_id))

    def signers(self, device_id: str) -> tuple[Signer, ...]:
        """What may have signed this device's frames, the current one first."""
        return _signers(self, device_id)

    def each(self) -> tuple[bytes, ...]:
        """The keys that are valid, the current one first."""
        return (self.current,) if self.previous is None else (self.current, self.previous)


@lru_cache(_CACHED_DEVICES)
def _bearers(keys: DeviceKeys, device_id: str) -> tuple[bytes, ...]:
    return tuple(bearer(key, device_id).encode() for key in keys.each())


@lru_cache(_CACHED_DEVICES)
def _signers(keys: DeviceKeys, device_id: str) -> tuple[Signer, ...]:
    return tuple(Signer(mac_key(key, device_id)) for key in keys.each())


def load(folder: Path) -> DeviceKeys:
    """Read `current` and, where there is one, `previous`: base64 text of 32 bytes each.

    The alphabet is base64url; padding may be missing, and standard base64 is read too.

    Raises:
        KeyFileError: `current` is missing, or either is not such a text.
    """
    previous = folder / "previous"
    return DeviceKeys(_read(folder / "current"), _read(previous) if previous.exists() else None)


def _read(path: Path) -> bytes:
    try:
        text = path.read_bytes().strip()
    except OSError as e:
        raise KeyFileError(f"{path}: {e.strerror}; a device key (base64url of {KEY_BYTES} bytes) is expected") from e
    try:
        key = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as e:
        raise KeyFileError(f"{path}: not base64url ({e}); base64url of {KEY_BYTES} bytes is expected") from e
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"{path}: holds {len(key)} bytes; base64url of {KEY_BYTES} bytes is expected")
    return key


class KeyFolder:
    """A folder of device keys, read again when `refresh` is called: a mounted Secret changes under the process."""

    def __init__(self, folder: Path) -> None:
        """Read the keys.

        Raises:
            KeyFileError: see `load`.
        """
        self._folder = folder
        self.keys = load(folder)

    def refresh(self) -> bool:
        """Read the folder again; says whether the keys are others now. A broken folder leaves them as they are.

        Raises:
            KeyFileError: see `load`.
        """
        fresh = load(self._folder)
        if fresh == self.keys:
            return False  # the same object: what was derived from it stays good
        self.keys = fresh
        return True
