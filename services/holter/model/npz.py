"""Arrays ↔ the bytes of an .npz, strictly: no pickle, no compression, nothing but what is expected."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ArtifactError(Exception):
    """The artifact cannot be used; the message names what is wrong and what would be right."""


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An .npz as `numpy.load` reads it, stored, with fixed times: the same arrays give the same bytes everywhere."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, values, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue())
    return out.getvalue()


def unpack(npz: bytes, dtypes: Mapping[str, np.dtype[np.generic]]) -> dict[str, NDArray[Any]]:
    """One-dimensional arrays of just these names, in this order, and types.

    Nothing much larger than `npz` is ever allocated: members are stored, and a shape has to agree with its bytes.

    Raises:
        ArtifactError: it holds something else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(npz)) as archive:
            members = archive.infolist()
            if [member.filename for member in members] != [f"{name}.npy" for name in dtypes]:
                raise ArtifactError(f"model.npz: the arrays {', '.join(dtypes)} are expected, in this order")
            if any(member.compress_type != zipfile.ZIP_STORED or member.file_size > len(npz) for member in members):
                raise ArtifactError("model.npz: a member is compressed, stored ones are expected")
            return {
                name: _array(name, dtype, archive.read(member))
                for (name, dtype), member in zip(dtypes.items(), members, strict=True)
            }
    # What zipfile and numpy.lib.format raise on damaged input.
    except (zipfile.BadZipFile, ValueError, TypeError, SyntaxError, EOFError, RuntimeError, OSError) as error:
        raise ArtifactError(f"model.npz is not an archive of arrays: {error}") from error


def _array(name: str, expected: np.dtype[np.generic], member: bytes) -> NDArray[Any]:
    stream = io.BytesIO(member)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ArtifactError(f"array {name}: version 1.0 of the .npy format is expected")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    body = member[stream.tell() :]
    if dtype != expected or len(shape) != 1 or shape[0] * dtype.itemsize != len(body):
        raise ArtifactError(
            f"array {name}: {dtype} of shape {shape} in {len(body)} bytes, one dimension of {expected} is expected"
        )
    return np.frombuffer(body, dtype).copy()  # writable, as a new forest is: one compiled signature
