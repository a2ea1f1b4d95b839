"""What annotating has cost: by stage and in bytes, of a corpus' finished clips, or as measured for this package."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wmkit.corpus import Corpus
from wmkit.corpus.columns import LedgerColumns
from wmkit.errors import ConfigError

__all__ = ["SHIPPED_COSTS", "Costs", "costs_of_corpus", "shipped_costs"]

SHIPPED_COSTS = Path(__file__).with_name("shipped_costs.json")  # by benchmarks/measure_costs.py
CLIP_STAGES = ("scale", "depth", "caption")  # a bounded number of keyframes a clip, however long it is
WEIGHED = 200  # clip folders whose files are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Means over `clips` finished clips of `frames` output frames, those without a trajectory among them.

    core_s_per_frame  by stage, all filters together; stages that work on every frame.
    core_s_per_clip   by stage; stages that work on a few keyframes.
    bytes_per_clip    of the clip's folder.
    """

    clips: int
    frames: int
    core_s_per_frame: dict[str, float]
    core_s_per_clip: dict[str, float]
    bytes_per_clip: float

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def core_s(self, clips: float, frames: float) -> dict[str, float]:
        """Core-seconds by stage of so many clips with so many frames in all."""
        by_frame = {stage: seconds * frames for stage, seconds in self.core_s_per_frame.items()}
        return by_frame | {stage: seconds * clips for stage, seconds in self.core_s_per_clip.items()}


def costs_of_corpus(corpus: Corpus, finished: LedgerColumns) -> Costs | None:
    """Of the `finished` clips whose times were taken; None when there is none."""
    table = finished.table
    # A run that was killed leaves clips whose times nobody knows.
    stages = [np.diff(chunk.offsets.to_numpy()) for chunk in table["timings"].chunks]
    table = table.filter(pa.array(np.concatenate([np.zeros(0, dtype=int), *stages]) > 0)).combine_chunks()
    frames = int(pc.sum(table["frames"]).as_py() or 0)  # pyright: ignore[reportAttributeAccessIssue]
    if not len(table) or not frames:
        return None
    seconds = _stage_seconds(table["timings"])
    ids = table["clip_id"].to_pylist()
    return Costs(
        clips=len(table),
        frames=frames,
        core_s_per_frame={stage: spent / frames for stage, spent in seconds.items() if stage not in CLIP_STAGES},
        core_s_per_clip={stage: spent / len(table) for stage, spent in seconds.items() if stage in CLIP_STAGES},
        bytes_per_clip=_mean_bytes(corpus, ids[:: -(-len(ids) // WEIGHED)]),
    )


def shipped_costs(path: Path = SHIPPED_COSTS) -> Costs:
    """The figures that come with this package; ConfigError when their file is damaged."""
    try:
        return Costs(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: expected measured costs, got {error}; install wmkit again") from None


def _stage_seconds(timings: pa.ChunkedArray) -> dict[str, float]:
    """Core-seconds by stage over all rows, every filter under "filters"."""
    found: dict[str, float] = {}
    for chunk in timings.chunks:
        coded = chunk.keys.dictionary_encode()
        spent = np.bincount(coded.indices.to_numpy(), weights=chunk.items.to_numpy(), minlength=len(coded.dictionary))
        for stage, seconds in zip(coded.dictionary.to_pylist(), spent.tolist(), strict=True):
            name = "filters" if stage.startswith("filter") else stage
            found[name] = found.get(name, 0.0) + seconds
    return dict(sorted(found.items()))


def _mean_bytes(corpus: Corpus, clip_ids: list[str]) -> float:
    """Of the folders that are there."""
    folders = [folder for folder in map(corpus.folder, clip_ids) if folder.is_dir()]
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in folders]
    return float(np.mean(sizes)) if sizes else 0.0
