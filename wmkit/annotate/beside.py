"""What lies beside a clip and decides its result: a change of it makes the clip another one to annotate."""

import hashlib
from collections.abc import Callable

from wmkit.annotate.pipeline import AnnotateConfig
from wmkit.annotate.protocols import ReadsBeside
from wmkit.errors import InputError
from wmkit.hashes import hash_of_path
from wmkit.video.frames import ClipFile

__all__ = ["beside_hash"]


def beside_hash(config: AnnotateConfig) -> Callable[[ClipFile], str] | None:
    """Hash of the files beside a clip that the config's parts would read, "" where none is; None: no part reads any.

    InputError when such a file cannot be read.
    """
    parts = (config.pose, config.caption, *(getattr(cue, "sidecars", None) for cue in config.scale))
    readers = [part for part in parts if isinstance(part, ReadsBeside) and part.reads_beside]
    return (lambda file: _hash(readers, file)) if readers else None


def _hash(readers: list[ReadsBeside], file: ClipFile) -> str:
    paths = sorted({path for reader in readers for path in reader.beside(file)})
    if not paths:
        return ""
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(f"{path.name}\0{hash_of_path(path)}\n".encode())
        except OSError as error:
            raise InputError(f"{path}: expected a readable file beside {file.name}, got {error}") from error
    return digest.hexdigest()[:32]
