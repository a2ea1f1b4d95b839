"""Arrays in .npy and .npz files that people hand over: never a pickle, and errors in our own words."""

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.errors import InputError

__all__ = ["read_array", "read_arrays"]


def read_array(path: Path) -> NDArray:
    """The one array of a .npy; InputError naming the file."""
    try:
        array = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise _unreadable(path, "numpy.save", error) from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: expected one array, got an archive of several; name it .npz")
    return array


def read_arrays(path: Path) -> dict[str, NDArray]:
    """The named arrays of a .npz; InputError naming the file."""
    try:
        archive = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise InputError(f"{path}: expected named arrays, got one without a name; write it with numpy.savez")
        with archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise _unreadable(path, "numpy.savez", error) from error


def _unreadable(path: Path, writer: str, error: Exception) -> InputError:
    """Our words for what numpy could not read; its own name ways to load what should not be loaded."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else "a damaged file or one with objects"
    return InputError(
        f"{path}: expected a readable {path.suffix.lower()} without pickled objects, got: {why}; write it again with "
        f"{writer}, numbers alone"
    )
