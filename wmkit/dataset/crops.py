"""The samples of one shards folder as crops: frames and cameras cut alike, a pure function of (seed, sample, draw)."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, ScaleKind, invert_rigid
from wmkit.clip import rng_for
from wmkit.dataset.decode import decode_frames, fit_frames, load_array
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.schema import VAL, Sample, open_shards
from wmkit.errors import CorruptShardError, InputError

__all__ = ["Crop", "Crops"]


class Crop(NamedTuple):
    """One element of a batch: (T, 3, H, W) float32 in [-1, 1], (T, 4, 4), (T, 4)."""

    sample: Sample
    video: NDArray[np.float32]
    world_from_cam: Array
    intrinsics: Array

    @property
    def metric(self) -> bool:
        """Whether the unit is the metre."""
        return self.sample.scale is ScaleKind.METRIC


class Crops:
    """Random access to crops of the samples that have any.

    samples  those, in the order of the shards.
    skipped  samples that never give a crop, by reason: `too_short`, or `unposed` when no run of `frames` consecutive
             posed frames exists.
    """

    __slots__ = ("_config", "_folder", "samples", "skipped")

    def __init__(self, shards: Path, config: LoaderConfig) -> None:
        """Opens head and index; InputError when no sample gives a crop, else what `open_shards` raises."""
        folder = open_shards(shards)
        self._config, self._folder = config, folder.path
        there = {sample.split for sample in folder.samples}
        wanted = there - {VAL} if config.split is None else there & {config.split}
        samples = [sample for sample in folder.samples if sample.split in wanted]
        if not samples:
            got = ", ".join(sorted(there)) or "none"
            raise InputError(f"{shards}: expected samples of split {config.split or 'train'}, got {got}")
        self.samples = tuple(sample for sample in samples if len(_starts(sample.posed, config.frames)))
        short = sum(1 for sample in samples if sample.frames < config.frames)
        unposed = len(samples) - len(self.samples) - short
        self.skipped: Mapping[str, int] = {"too_short": short, "unposed": unposed}
        if not self.samples:
            raise InputError(
                f"{shards}: expected a sample with {config.frames} consecutive posed frames, got none of "
                f"{len(samples)} ({short} too short); ask for fewer frames"
            )

    def crop(self, number: int, draw: int) -> Crop:
        """A crop of sample `number`; where it begins depends on the seed, the sample's key and `draw`.

        CorruptShardError naming shard and sample when bytes differ from what the index promises.
        """
        config, sample = self._config, self.samples[number]
        check = config.checks(draw)
        starts = _starts(sample.posed, config.frames)
        start = int(starts[rng_for(config.seed, sample.key, f"crop {draw}").integers(len(starts))])
        rows = slice(start, start + config.frames)
        poses = load_array(self._folder, sample, "trajectory.npy", (sample.frames, 4, 4), check=check)[rows]
        cameras = load_array(self._folder, sample, "intrinsics.npy", (sample.frames, 4), check=check)[rows]
        if not np.isfinite(poses).all():
            raise CorruptShardError(f"{sample.shard}: expected poses where the index says so of sample {sample.key}")
        rgb = decode_frames(self._folder, sample, start, config.frames, check=check)
        picture, cameras = fit_frames(rgb, cameras, config.width, config.height)
        relative = invert_rigid(poses[:1]) @ poses
        relative[0] = np.eye(4)  # what rounding leaves of it is not worth having
        video = picture.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)
        return Crop(sample, video, relative, cameras)


def _starts(posed: NDArray[np.bool_], frames: int) -> NDArray[np.int64]:
    """Every index at which `frames` consecutive posed frames begin."""
    if len(posed) < frames:
        return np.zeros(0, dtype=np.int64)
    total = np.concatenate([[0], np.cumsum(posed)])
    return np.flatnonzero(total[frames:] - total[:-frames] == frames)
