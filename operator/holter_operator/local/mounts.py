"""A container's mounts on one machine: which folder stands for which path, and which files it holds. Pure."""

from base64 import b64decode
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from holter_operator.local.specs import VolumeSpec


class ManifestError(Exception):
    """An object needs what this machine has not; the message names both."""


class Objects:
    """Secrets and ConfigMaps by name."""

    def __init__(self, objects: Iterable[Mapping[str, Any]]) -> None:
        self._data = {(o["kind"], o["metadata"]["name"]): _data(o) for o in objects if o["kind"] in _DATA}

    def files(self, kind: str, source: Mapping[str, Any], where: str) -> dict[str, bytes]:
        """Files of a volume source, by path.

        Raises:
            ManifestError: the object or a key is not there and the source is not optional.
        """
        name = source.get("secretName") or source["name"]
        data = self._data.get((kind, name))
        optional = bool(source.get("optional", False))
        if data is None:
            if optional:
                return {}
            raise ManifestError(
                f"{where}: {kind} {name!r} is not there: add it to the cohort's file, as a document of its own"
            )
        if "items" not in source:
            return dict(data)
        files = {}
        for item in source["items"]:
            if item["key"] in data:
                files[item["path"]] = data[item["key"]]
            elif not optional:
                raise ManifestError(f"{where}: {kind} {name!r} has no key {item['key']!r}; it has {sorted(data)}")
        return files

    def key(self, kind: str, reference: Mapping[str, Any], where: str) -> str:
        """One key as text; empty when it is optional and not there.

        Raises:
            ManifestError: it is not there and not optional.
        """
        item = {"key": reference["key"], "path": reference["key"]}
        return self.files(kind, {**reference, "items": [item]}, where).get(reference["key"], b"").decode()


class Mounts:
    """The mounts of one container.

    Files of ConfigMaps and Secrets are under `<state>/mounts/<component>`, what an emptyDir or a claim holds
    is under `<state>/data/<component>`; below both the path is the container's.
    """

    def __init__(
        self,
        component: str,
        pod: Mapping[str, Any],
        container: Mapping[str, Any],
        claims: frozenset[str],
        state: Path,
    ) -> None:
        volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
        volumes |= {claim: {"name": claim, "persistentVolumeClaim": {}} for claim in claims}
        self._component = component
        self._mounts = {
            PurePosixPath(mount["mountPath"]): (volumes[mount["name"]], mount.get("subPath"))
            for mount in container.get("volumeMounts", ())
        }
        self._files = state / "mounts" / component
        self._kept = state / "data" / component
        self._used: set[PurePosixPath] = set()

    def localise(self, text: str) -> str:
        """A variable's value or an argument with a mounted path, or one above mounts, as this machine's path.

        `/etc/holter/config`, `influxdb:/etc/holter/influxdb` and `--state=/var/lib/holter` are such; a URL is none.
        """
        prefix, slash, rest = text.partition("/")
        path = PurePosixPath("/" + rest)
        if not slash or (prefix and prefix[-1] not in ":=") or len(path.parts) < 2:
            return text
        below = [mount for mount in self._mounts if mount == path or mount in path.parents]
        above = [mount for mount in self._mounts if path in mount.parents]
        self._used.update(below, above)
        if not below and not above:
            return text
        base = self._base(max(below, key=lambda mount: len(mount.parts))) if below else self._files
        return f"{prefix}{_below(base, path)}"

    def volumes(self, lookup: Objects) -> Iterable[VolumeSpec]:
        """Mounted files of the paths that variables and arguments named; nothing reads the others.

        So a machine with a SQLite store needs no Secret with a connection to InfluxDB.

        Raises:
            ManifestError: an object is not there, or the volume cannot be had on this machine.
        """
        for path, (volume, subpath) in self._mounts.items():
            if path not in self._used or self._is_kept(volume):
                continue
            where = f"{self._component}: volume {volume['name']!r}"
            if subpath is not None:
                raise ManifestError(f"{where}: subPath {subpath!r}: such a mount is never reloaded, mount the folder")
            yield VolumeSpec(_below(self._files, path), _files_of(volume, lookup, where))

    def folders(self) -> Iterable[Path]:
        """Folders of emptyDirs and claims that variables and arguments named."""
        return (
            _below(self._kept, p)
            for p, (volume, _) in self._mounts.items()
            if p in self._used and self._is_kept(volume)
        )

    def _base(self, mount: PurePosixPath) -> Path:
        return self._kept if self._is_kept(self._mounts[mount][0]) else self._files

    @staticmethod
    def _is_kept(volume: Mapping[str, Any]) -> bool:
        return "emptyDir" in volume or "persistentVolumeClaim" in volume


def _files_of(volume: Mapping[str, Any], lookup: Objects, where: str) -> dict[str, bytes]:
    match volume:
        case {"configMap": source}:
            return lookup.files("ConfigMap", source, where)
        case {"secret": source}:
            return lookup.files("Secret", source, where)
        case {"projected": {"sources": sources}}:
            files: dict[str, bytes] = {}
            for source in sources:
                files |= _files_of(source, lookup, where)
            return files
    raise ManifestError(f"{where}: {sorted(set(volume) - {'name'})} cannot be had on this machine")


def _below(base: Path, path: PurePosixPath) -> Path:
    return base.joinpath(*path.parts[1:])


_DATA = ("Secret", "ConfigMap")


def _data(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Content of a Secret or ConfigMap, decoded."""
    text = "stringData" if document["kind"] == "Secret" else "data"
    coded = "data" if document["kind"] == "Secret" else "binaryData"
    try:
        decoded = {key: b64decode(value, validate=True) for key, value in (document.get(coded) or {}).items()}
    except (TypeError, ValueError) as error:
        name = f"{document['kind']} {document['metadata']['name']}"
        raise ManifestError(f"{name}: {coded}: base64 is expected ({error}); {text} takes plain text") from error
    return decoded | {key: str(value).encode() for key, value in (document.get(text) or {}).items()}
