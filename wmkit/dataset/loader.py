"""Shards to batches: random access by the index, every byte checked, the batch a pure function of (seed, step).

Nothing is remembered between steps, so a resumed run, on any number of machines, sees what the first one saw. A
plain streaming reader loses samples on a cut tar without a word; this one reads by offset and says which is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from wmkit.camera import Array, ScaleKind, invert_rigid
from wmkit.clip import rng_for
from wmkit.dataset.batch import Batch
from wmkit.dataset.decode import decode_frames, fit_frames, load_array
from wmkit.dataset.schema import open_shards
from wmkit.errors import CorruptShardError, InputError

__all__ = ["ClipLoader", "LoaderConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderConfig:
    """What a crop is: `frames` consecutive posed frames, covering and centre-cropped to `height` x `width` px."""

    frames: int
    height: int
    width: int
    batch_size: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("frames", "height", "width", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"loader {name}: expected at least 1, got {getattr(self, name)}")


class _Crop(NamedTuple):
    """One element of a batch: (T, 3, H, W) float32 in [-1, 1], (T, 4, 4), (T, 4)."""

    video: NDArray[np.float32]
    world_from_cam: Array
    intrinsics: Array


class ClipLoader:
    """Random crops of the samples of a shards folder, every sample once an epoch in a shuffled order.

    skipped  samples that never give a crop, by reason: `too_short`, or `unposed` when no run of `frames` consecutive
             posed frames exists.
    """

    __slots__ = ("_config", "_folder", "_order", "_samples", "_starts", "skipped")

    def __init__(self, shards: Path, config: LoaderConfig) -> None:
        """Opens head and index; InputError when no sample gives a crop, else what `open_shards` raises."""
        folder = open_shards(shards)
        self._config, self._folder = config, folder.path
        starts = [(sample, _crop_starts(sample.posed, config.frames)) for sample in folder.samples]
        kept = [(sample, start) for sample, start in starts if len(start)]
        self._samples = tuple(sample for sample, _ in kept)
        self._starts = tuple(start for _, start in kept)
        short = sum(1 for sample in folder.samples if sample.frames < config.frames)
        self.skipped: Mapping[str, int] = {"too_short": short, "unposed": len(starts) - len(kept) - short}
        self._order: tuple[int, NDArray[np.int64]] | None = None
        if not kept:
            raise InputError(
                f"{shards}: expected a sample with {config.frames} consecutive posed frames, got none of "
                f"{len(starts)} ({short} too short); ask for fewer frames"
            )

    def __len__(self) -> int:
        """Samples that give crops: one epoch."""
        return len(self._samples)

    def batch(self, step: int) -> Batch:
        """The batch of one step, the same whenever and wherever it is asked for.

        Raises CorruptShardError naming shard and sample when bytes differ from what the index promises.
        """
        first = step * self._config.batch_size
        draws = range(first, first + self._config.batch_size)
        samples = [self._samples[self._sample_of(draw)] for draw in draws]
        crops = [self._crop(draw) for draw in draws]
        return Batch(
            video=torch.from_numpy(np.stack([crop.video for crop in crops])),
            world_from_cam=torch.from_numpy(np.stack([crop.world_from_cam for crop in crops]).astype(np.float32)),
            intrinsics=torch.from_numpy(np.stack([crop.intrinsics for crop in crops]).astype(np.float32)),
            keys=tuple(sample.key for sample in samples),
            metric=tuple(sample.scale is ScaleKind.METRIC for sample in samples),
        )

    def _sample_of(self, draw: int) -> int:
        """Which sample the draw-th crop of the run is cut from: a fresh permutation every epoch."""
        epoch, place = divmod(draw, len(self._samples))
        if self._order is None or self._order[0] != epoch:
            rng = rng_for(self._config.seed, f"epoch {epoch}", "sample order")
            self._order = (epoch, rng.permutation(len(self._samples)))
        return int(self._order[1][place])

    def _crop(self, draw: int) -> _Crop:
        config, number = self._config, self._sample_of(draw)
        sample, starts = self._samples[number], self._starts[number]
        start = int(starts[rng_for(config.seed, sample.key, f"crop {draw}").integers(len(starts))])
        rows = slice(start, start + config.frames)
        poses = load_array(self._folder, sample, "trajectory.npy", (sample.frames, 4, 4))[rows]
        cameras = load_array(self._folder, sample, "intrinsics.npy", (sample.frames, 4))[rows]
        if not np.isfinite(poses).all():
            raise CorruptShardError(f"{sample.shard}: expected poses where the index says so of sample {sample.key}")
        rgb = decode_frames(self._folder, sample, start, config.frames)
        picture, cameras = fit_frames(rgb, cameras, config.width, config.height)
        relative = invert_rigid(poses[:1]) @ poses
        relative[0] = np.eye(4)  # what rounding leaves of it is not worth having
        video = picture.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)
        return _Crop(video, relative, cameras)


def _crop_starts(posed: NDArray[np.bool_], frames: int) -> NDArray[np.int64]:
    """Every index at which `frames` consecutive posed frames begin."""
    if len(posed) < frames:
        return np.zeros(0, dtype=np.int64)
    total = np.concatenate([[0], np.cumsum(posed)])
    return np.flatnonzero(total[frames:] - total[:-frames] == frames)
