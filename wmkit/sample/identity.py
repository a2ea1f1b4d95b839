"""Which files a sample is made of, by their bytes: what `--repeat` checks, and what is not made twice."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wmkit.errors import InputError
from wmkit.formats.colmap import model_folder
from wmkit.hashes import hash_of_file, hash_of_named_files
from wmkit.sample.options import FILES, SampleOptions
from wmkit.sample.refine import refiner_sha256
from wmkit.train.checkpoint import find_checkpoint, weights_file
from wmkit.train.encoders import CodecChoice, TextChoice

__all__ = ["Digests", "input_digests", "is_made", "trajectory_sha256", "weight_digests"]

Digests = Mapping[str, str | None]


def weight_digests(options: SampleOptions) -> Digests:
    """sha256 of the models, None where none is named. Raises InputError where one is not there."""
    return {
        "checkpoint": hash_of_file(weights_file(find_checkpoint(options.checkpoint))),
        "refiner": _digest("--refiner", options.refiner, refiner_sha256),
        "vae": None if options.vae is None else CodecChoice.parse(options.vae).weights(),
        "text": None if options.text is None else TextChoice.parse(options.text).weights(),
    }


def input_digests(options: SampleOptions) -> Digests:
    """sha256 of what else is read, None where none is named. Raises InputError where one is not there."""
    return {
        "image": _digest("--image", options.image, hash_of_file),
        "trajectory": trajectory_sha256(options.trajectory),
        "intrinsics": _digest("--intrinsics", options.intrinsics, hash_of_file),
    }


def is_made(record: Mapping[str, Any], options: SampleOptions, weights: Digests) -> bool:
    """Whether the video at `options.out` is what `record`, its sidecar, tells of, and that is what is asked for.

    Options are as they were and files have the same bytes, wherever they lie; `weights` is `weight_digests(options)`.
    Raises InputError where a named file is not there.
    """
    digests, now = {**weights, **input_digests(options)}, options.to_record()
    try:
        then = record["options"]
        same = all(then[name] == now[name] for name in now if name not in FILES)
        same &= all((then[name] is None) == (now[name] is None) for name in now if name in FILES)
        named = [name for name, digest in digests.items() if digest is not None]
        same &= all(record[name]["sha256"] == digests[name] for name in named)
        wanted = record["video"]["sha256"]
    except (KeyError, TypeError):
        return False
    return same and options.out.is_file() and hash_of_file(options.out) == wanted


def trajectory_sha256(text: str) -> str:
    """Of a file's bytes, of names and bytes of a COLMAP model's files, or of what is no path: the text itself."""
    path = Path(text)
    if not text or not path.exists():
        return hashlib.sha256(text.encode()).hexdigest()
    if path.is_file():
        return hash_of_file(path)
    files = sorted(file for file in model_folder(path).iterdir() if file.suffix in (".bin", ".txt"))
    return hash_of_named_files((file.name, file) for file in files)


def _digest(flag: str, path: Path | None, digest: Callable[[Path], str]) -> str | None:
    try:
        return None if path is None else digest(path)
    except OSError as error:
        raise InputError(f"{flag}: expected a file at {path}, got: {error.strerror}") from error
