"""`wmkit sample --repeat X.json`: the same video again, from its sidecar, bit for bit or with the reason why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wmkit.errors import InputError
from wmkit.json_object import read_json
from wmkit.sample.options import SampleOptions
from wmkit.sample.refine import refiner_sha256
from wmkit.sample.run import SampleSummary, run_sample, sha256_of
from wmkit.train.checkpoint import MODEL_NAME, find_checkpoint
from wmkit.train.progress import TrainProgress

__all__ = ["repeat_sample"]


def repeat_sample(
    sidecar: Path,
    out: Path,
    note: Callable[[str], None] | None = None,
    progress: TrainProgress | None = None,
) -> tuple[SampleSummary, bool]:
    """Make what `sidecar` tells of again as `out`; whether the video has the same bytes.

    Raises InputError, before anything is computed, when the sidecar is none, or when checkpoint, picture or trajectory
    are not what they were; else what `run_sample` raises.
    """
    record = read_json(sidecar, "name the .json that `wmkit sample` wrote")
    try:
        options = SampleOptions.from_record(record["options"], out)
        wanted = record["video"]["sha256"]
        _check("--checkpoint", find_checkpoint(options.checkpoint) / MODEL_NAME, record["checkpoint"])
        if options.image is not None:
            _check("--image", options.image, record["image"])
        if Path(options.trajectory).is_file():
            _check("--trajectory", Path(options.trajectory), record["trajectory"])
        if options.refiner is not None:
            _check("--refiner", options.refiner, record["refiner"], refiner_sha256)
    except (KeyError, TypeError) as error:
        raise InputError(f"{sidecar}: expected the record of a sample, found no {error}; name another") from error
    summary = run_sample(options, note, progress)
    return summary, sha256_of(summary.video) == wanted


def _check(flag: str, path: Path, told: dict[str, Any], digest: Callable[[Path], str] = sha256_of) -> None:
    try:
        found = digest(path)
    except OSError as error:
        raise InputError(f"--repeat: expected the sample's {flag} at {path}, got: {error.strerror}") from error
    if found != told["sha256"]:
        raise InputError(f"--repeat: expected the sample's {flag} {path} as it was, but its bytes have changed")
