"""A network's folder on this machine, as the transformers package writes it."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from wmkit.errors import InputError
from wmkit.hashes import hash_of_files

__all__ = ["model_folder", "weights_hash"]


def model_folder(path: Path, flag: str) -> str:
    """sha256 of the weights in the folder `path` that `flag` names; InputError without them or transformers."""
    files = sorted(path.glob("*.safetensors"))
    if not files or not (path / "config.json").is_file():
        raise InputError(f"{flag} {path}: expected config.json and *.safetensors in the folder, found not both")
    return weights_hash(files, "transformers", f"{flag} {path}")


def weights_hash(files: Sequence[Path], package: str, what: str) -> str:
    """sha256 over the sha256 of every file, in order; InputError without the `package` that reads them for `what`."""
    if importlib.util.find_spec(package) is None:
        raise InputError(f"{what}: expected the package {package} beside these weights; install it")
    return hash_of_files(files)
