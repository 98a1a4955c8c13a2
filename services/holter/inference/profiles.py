"""What a ward knows of its patients: a YAML mapping of device id → profile, reloaded when its file changes.

    bed-07: {paced: true}
    bed-12: {knownAF: true, hrHigh: 150, mutedUntil: 2026-03-01T07:30:00Z}

A wrong entry costs only itself: that patient keeps the defaults. A wrong file leaves the profiles as they were.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import Repr
from types import MappingProxyType

import structlog
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from holter.chunk import DEVICE_ID
from holter.config import PatientProfile
from holter.inference.watched import Watched

DEFAULT = PatientProfile()
_NO_PROFILES: Mapping[str, PatientProfile] = MappingProxyType({})
_log = structlog.get_logger()


class ProfilesError(Exception):
    """The file as a whole cannot be read; the message says where and what would be right."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one entry.

    Attributes:
        device: the entry's key as written.
        field: of the profile, empty where the whole entry is meant.
        value: as written, shortened.
        message: what is wrong and what would be right.
        line: in the file, from 1.
    """

    device: str
    field: str
    value: str
    message: str
    line: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file's good entries and the faults of its others."""

    profiles: Mapping[str, PatientProfile] = field(default_factory=lambda: _NO_PROFILES)
    faults: tuple[Fault, ...] = ()


class _Constructor(SafeConstructor):
    """Leaves times as they are written: YAML would drop the offset that tells RFC 3339 from a guess."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def parse(content: bytes) -> Parsed:
    """Read profiles; an empty file is none.

    Raises:
        ProfilesError: it is not YAML, or not a mapping.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        root = yaml.compose(io.BytesIO(content))
    except (YAMLError, ValueError, RecursionError) as error:
        raise ProfilesError(f"not YAML: {_words(error)}") from error
    if root is None:
        return Parsed()
    if not isinstance(root, MappingNode):
        raise ProfilesError("a mapping of device id → profile is expected at the top")
    profiles: dict[str, PatientProfile] = {}
    faults: list[Fault] = []
    for key, value in root.value:
        device = key.value if isinstance(key, ScalarNode) else ""
        line = key.start_mark.line + 1
        if not DEVICE_ID.fullmatch(device):
            faults.append(Fault(_short(device), "", "", f"a device id is expected: {DEVICE_ID.pattern}", line))
        elif device in profiles:
            faults.append(Fault(device, "", "", "named twice; the first entry holds", line))
        else:
            found = _profile(yaml, device, value)
            if isinstance(found, PatientProfile):
                profiles[device] = found
            else:
                faults += found
    return Parsed(MappingProxyType(profiles), tuple(faults))


def _profile(yaml: YAML, device: str, node: Node) -> PatientProfile | list[Fault]:
    line = node.start_mark.line + 1
    try:
        given = yaml.constructor.construct_object(node, deep=True)
    except (YAMLError, ValueError, RecursionError) as error:
        return [Fault(device, "", "", _words(error), line)]
    if given is None:
        return DEFAULT
    if not isinstance(given, dict):
        return [Fault(device, "", _short(given), "a mapping of paced, knownAF, hrLow, hrHigh, mutedUntil", line)]
    try:
        return PatientProfile.model_validate({str(name): value for name, value in given.items()}, by_name=False)
    except ValidationError as error:
        return [
            Fault(
                device,
                ".".join(str(part) for part in one["loc"]),
                _short(one["input"]),
                "unknown field; paced, knownAF, hrLow, hrHigh and mutedUntil are known"
                if one["type"] == "extra_forbidden"
                else one["msg"].removeprefix("Value error, "),
                line,
            )
            for one in error.errors()
        ]


def _words(error: Exception) -> str:
    # Never the text around it, which ruamel quotes: it is patients', and this is logged.
    if isinstance(error, DuplicateKeyError):
        return "a field is given twice"
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return type(error).__name__ if isinstance(error, RecursionError) else str(error)


_shortener = Repr()
_shortener.maxlevel = 2
_shortener.maxstring = _shortener.maxother = 60


def _short(value: object) -> str:
    return _shortener.repr(value)


class Profiles:
    """The profiles now; call `refresh` in each cycle.

    Args:
        path: their file, None where the cohort has none.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = Watched(path) if path else None
        self._parsed = Parsed()
        self._problem = ""
        self.refresh()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Of the entries of the file that was last read."""
        return self._parsed.faults

    @property
    def problem(self) -> str:
        """Why the file as it is now was not taken, empty when it was."""
        return self._problem

    def of(self, device_id: str) -> PatientProfile:
        """A patient's profile, the defaults where there is none."""
        return self._parsed.profiles.get(device_id, DEFAULT)

    def refresh(self) -> bool:
        """Read the file again if it changed; says whether the profiles did. Costs an open and a stat."""
        if self._file is None:
            return False
        try:
            content = self._file.poll()
            if content is None:
                return False
            parsed = parse(content)
        except (OSError, ProfilesError) as error:
            if str(error) != self._problem:
                _log.error("profiles_not_read", file=str(self._file.path), reason=str(error), kept="the last ones")
            self._problem = str(error)
            return False
        self._problem = ""
        changed = parsed.profiles != self._parsed.profiles
        self._parsed = parsed
        _log.info("profiles_read", file=str(self._file.path), profiles=len(parsed.profiles), faults=len(parsed.faults))
        for fault in parsed.faults:
            _log.warning(
                "profile_wrong",
                device_id=fault.device,
                field=fault.field,
                reason=fault.message,
                line=fault.line,
            )
        return changed
