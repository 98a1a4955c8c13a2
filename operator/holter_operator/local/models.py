"""Accepted models of one cohort: one folder a revision, and which of them is at work."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holter_operator.build.given import ModelFiles
from holter_operator.local import files
from holter_operator.reconcile import models
from holter_operator.reconcile.gate import Verdict


def examine(folder: Path, current: ModelFiles | None, min_windows: int) -> tuple[Verdict, dict[str, Any], bytes]:
    """Judge the candidate that a refit left.

    Args:
        folder: of its `model.json` and `model.npz`.
        current: the model in use.
        min_windows: `spec.refit.minWindows`.

    Returns:
        The verdict, and the candidate's two parts where it is accepted.
    """
    try:
        text = (folder / "model.json").read_bytes()
    except OSError as error:
        return Verdict(False, "Malformed", f"the refit left no model: {error}"), {}, b""
    arrays = folder / "model.npz"
    content = arrays.read_bytes() if arrays.exists() else b""
    verdict, document = models.examine(text, content, current.document if current else None, min_windows)
    return (verdict, dict(document), content) if verdict.accepted else (verdict, {}, b"")


def in_use(history: Sequence[ModelFiles], pinned: int | None) -> ModelFiles | None:
    """The pinned revision, or the newest; None when there is none, or the pinned one is not there."""
    chosen = models.choose((m.revision for m in history), pinned)
    return next((m for m in history if m.revision == chosen), None)


class Models:
    """The history, in `folder/r<N>`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def history(self) -> tuple[ModelFiles, ...]:
        """All kept revisions, oldest first. A folder that an interrupted acceptance left is none of them."""
        found = []
        for folder in self._folder.glob("r*"):
            if folder.name[1:].isdigit() and (folder / "model.json").exists():
                document, arrays = (folder / "model.json").read_text(), (folder / "model.npz").read_bytes()
                found.append(ModelFiles(revision=int(folder.name[1:]), document=document, arrays=arrays))
        return tuple(sorted(found, key=lambda m: m.revision))

    def accept(self, document: Mapping[str, Any], arrays: bytes) -> ModelFiles:
        """Keep a candidate as the next revision; a number is never given twice, even after its model is gone."""
        newest = self._folder / "newest"
        revision = int(newest.read_text()) + 1 if newest.exists() else 1
        text = models.numbered(document, revision)
        files.write(newest, str(revision).encode())
        # model.json last: it says that the folder is whole.
        files.write(self._folder / f"r{revision}" / "model.npz", arrays)
        files.write(self._folder / f"r{revision}" / "model.json", text.encode())
        return ModelFiles(revision=revision, document=text, arrays=arrays)

    def prune(self, keep: int, pinned: int | None) -> None:
        """Remove all but the newest `keep` revisions and the pinned one."""
        for revision in models.outdated((m.revision for m in self.history()), keep, [pinned]):
            shutil.rmtree(self._folder / f"r{revision}")
