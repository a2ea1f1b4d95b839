"""`wmkit sample --repeat X.json`: the same video again, from its sidecar, bit for bit or with the reason why not."""

from collections.abc import Callable
from pathlib import Path

from wmkit.errors import InputError
from wmkit.hashes import hash_of_file
from wmkit.json_object import read_json
from wmkit.model.placement import Offload
from wmkit.sample.identity import input_digests, weight_digests
from wmkit.sample.options import SampleOptions
from wmkit.sample.run import SampleSummary, run_sample
from wmkit.train.progress import TrainProgress

__all__ = ["repeat_sample"]


def repeat_sample(
    sidecar: Path,
    out: Path,
    note: Callable[[str], None] | None = None,
    progress: TrainProgress | None = None,
    offload: Offload = "none",
) -> tuple[SampleSummary, bool]:
    """Make what `sidecar` tells of again as `out`; whether the video has the same bytes.

    `offload` changes none, so it need not be what it was.

    Raises InputError, before anything is computed, when the sidecar is none, or when a file that the sample is made of
    is not what it was; else what `run_sample` raises.
    """
    record = read_json(sidecar, "name the .json that `wmkit sample` wrote")
    try:
        options = SampleOptions.from_record(record["options"], out, offload)
        wanted = record["video"]["sha256"]
        for name, digest in {**weight_digests(options), **input_digests(options)}.items():
            if digest is not None and digest != record[name]["sha256"]:
                named = f"--{name} {getattr(options, name)}"
                raise InputError(f"--repeat: expected the sample's {named} as it was, but its bytes have changed")
    except (KeyError, TypeError) as error:
        raise InputError(f"{sidecar}: expected the record of a sample, found no {error}; name another") from error
    summary = run_sample(options, note, progress)
    return summary, hash_of_file(summary.video) == wanted
