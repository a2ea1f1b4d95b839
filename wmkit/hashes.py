"""sha256 of files: of one, or one hash of several."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["hash_of_file", "hash_of_files", "hash_of_named_files", "hash_of_path"]


def hash_of_file(file: Path) -> str:
    """sha256 of a file's bytes, as sha256sum prints it; OSError when it is unreadable."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_of_files(files: Iterable[Path]) -> str:
    """sha256 over the sha256 of every file, in order; OSError when one is unreadable."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(hash_of_file(file)))
    return digest.hexdigest()


def hash_of_named_files(files: Iterable[tuple[str, Path]]) -> str:
    """sha256 over the names given and the sha256 of every file, in order; OSError when one is unreadable."""
    digest = hashlib.sha256()
    for name, file in files:
        digest.update(f"{name}\0{hash_of_file(file)}\n".encode())
    return digest.hexdigest()


def hash_of_path(path: Path) -> str:
    """Likewise of a file, or of all files in a folder and below, sorted."""
    return hash_of_files(sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path])
