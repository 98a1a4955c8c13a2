"""A mounted file that is read again when it changes."""

import errno
import os
from pathlib import Path


class Watched:
    """Notices a change by modification time, size and inode, through symlinks: a swapped ConfigMap or Secret is one.

    Args:
        path: the file.
        limit: bytes; a larger file is refused before it is read.
    """

    def __init__(self, path: Path, limit: int = 2 << 20) -> None:
        self.path = path
        self._limit = limit
        self._seen: tuple[int, int, int] | None = None

    def poll(self) -> bytes | None:
        """Its content when that has changed since the last call (or could not be read then), else None.

        Costs an open and a stat.

        Raises:
            OSError: it cannot be read, or is larger than the limit.
        """
        seen, self._seen = self._seen, None
        with self.path.open("rb") as file:
            stat = os.fstat(file.fileno())
            mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if mark == seen:
                self._seen = mark
                return None
            if stat.st_size > self._limit:
                raise OSError(errno.EFBIG, f"{stat.st_size} bytes; at most {self._limit} are read", str(self.path))
            content = file.read(self._limit)
        self._seen = mark
        return content
