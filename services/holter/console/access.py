"""Who may look and who may acknowledge: two tokens, mounted as files, read again when they change."""

import hmac
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

LEAST = 16
"""Characters of a token: a shorter one is not a secret."""


class Right(StrEnum):
    """What a token allows."""

    VIEW = "view"
    ACKNOWLEDGE = "acknowledge"


class TokenFileError(Exception):
    """A token file is missing or wrong; the message names it and what would be right."""


class Access:
    """The tokens of one folder: the files `view` and `acknowledge`."""

    def __init__(self, folder: Path) -> None:
        """Read them.

        Raises:
            TokenFileError: one is missing, too short, or both are the same.
        """
        self._folder = folder
        self._tokens = _load(folder)

    def refresh(self) -> bool:
        """Read them again; whether they are others now. A broken folder leaves them as they are.

        Raises:
            TokenFileError: see above.
        """
        before, self._tokens = self._tokens, _load(self._folder)
        return self._tokens != before

    def rights(self, token: str) -> frozenset[Right]:
        """What a token allows; nothing when it is none of ours. Compared in constant time, with both."""
        given = token.encode(errors="replace")
        held = {right for right, value in self._tokens.items() if hmac.compare_digest(given, value)}
        return frozenset(Right) if Right.ACKNOWLEDGE in held else frozenset(held)


def _load(folder: Path) -> Mapping[Right, bytes]:
    tokens = {}
    for right in Right:
        path = folder / right
        try:
            tokens[right] = path.read_bytes().strip()
        except OSError as error:
            raise TokenFileError(f"{path}: {error.strerror}; a token of the right to {right} is expected") from error
        if len(tokens[right]) < LEAST:
            raise TokenFileError(f"{path}: {len(tokens[right])} characters; at least {LEAST} random ones are expected")
    if hmac.compare_digest(tokens[Right.VIEW], tokens[Right.ACKNOWLEDGE]):
        raise TokenFileError(f"{folder}: view and acknowledge are the same: two tokens are expected")
    return tokens
