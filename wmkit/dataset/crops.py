"""The samples of one shards folder as crops: frames and cameras cut alike, a pure function of (seed, sample, draw)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, ScaleKind, invert_rigid
from wmkit.clip import rng_for
from wmkit.dataset.decode import decode_frames, fit_frames, load_array
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.remote_shards import RemoteShards
from wmkit.dataset.schema import VAL, Sample, open_shards, read_part
from wmkit.errors import CorruptShardError, InputError

__all__ = ["Crop", "Crops"]


class Crop(NamedTuple):
    """One element of a batch: (T, 3, H, W) float32 in [-1, 1], (T, 4, 4), (T, 4)."""

    sample: Sample
    video: NDArray[np.float32]
    world_from_cam: Array
    intrinsics: Array
    caption: str

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

    def __init__(self, shards: Path | str, config: LoaderConfig) -> None:
        """Opens head and index; InputError when no sample gives a crop, else what `open_shards` raises."""
        folder = open_shards(shards)
        self._config, self._folder = config, folder.path
        there = {sample.split for sample in folder.samples}
        wanted = there - {VAL} if config.split is None else there & {config.split}
        samples = [sample for sample in folder.samples if sample.split in wanted]
        if not samples:
            got = ", ".join(sorted(there)) or "none"
            raise InputError(f"{shards}: expected samples of split {config.split or 'train'}, got {got}")
        self.samples = tuple(sample for sample in samples if len(_starts(sample.posed, config)))
        short = sum(1 for sample in samples if sample.frames < _reach(config))
        unposed = len(samples) - len(self.samples) - short
        self.skipped: Mapping[str, int] = {"too_short": short, "unposed": unposed}
        if not self.samples:
            apart = "consecutive posed frames" if config.stride == 1 else f"posed frames {config.stride} apart"
            raise InputError(
                f"{shards}: expected a sample with {config.frames} {apart}, got none of "
                f"{len(samples)} ({short} too short); ask for fewer frames"
            )

    def will_need(self, number: int) -> None:
        """A remote sample is fetched meanwhile, as far as there is room; a local one is not touched."""
        if isinstance(self._folder, RemoteShards):
            self._folder.will_need(self.samples[number])

    def crop(self, number: int, draw: int) -> Crop:
        """A crop of sample `number`; where it begins depends on the seed, the sample's key and `draw`.

        CorruptShardError naming shard and sample when bytes differ from what the index promises.
        """
        config, sample = self._config, self.samples[number]
        check = config.checks(draw)
        starts = _starts(sample.posed, config)
        start = int(starts[rng_for(config.seed, sample.key, f"crop {draw}").integers(len(starts))])
        rows = slice(start, start + _reach(config), config.stride)
        poses = load_array(self._folder, sample, "trajectory.npy", (sample.frames, 4, 4), check=check)[rows]
        cameras = load_array(self._folder, sample, "intrinsics.npy", (sample.frames, 4), check=check)[rows]
        if not np.isfinite(poses).all():
            raise CorruptShardError(f"{sample.shard}: expected poses where the index says so of sample {sample.key}")
        rgb = decode_frames(self._folder, sample, start, config.frames, config.stride, check=check)
        picture, cameras = fit_frames(rgb, cameras, config.width, config.height)
        relative = invert_rigid(poses[:1]) @ poses
        relative[0] = np.eye(4)  # what rounding leaves of it is not worth having
        video = picture.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)
        return Crop(sample, video, relative, cameras, self._caption(sample, check) if config.captions else "")

    def _caption(self, sample: Sample, check: bool) -> str:
        try:
            caption = json.loads(read_part(self._folder, sample, "json", check=check)).get("caption")
        except (ValueError, AttributeError) as error:
            raise CorruptShardError(f"{sample.shard}: expected {sample.key}.json to be JSON, got {error}") from None
        return caption if isinstance(caption, str) else ""


def _reach(config: LoaderConfig) -> int:
    """Frames of a sample from the first of a crop to its last."""
    return (config.frames - 1) * config.stride + 1


def _starts(posed: NDArray[np.bool_], config: LoaderConfig) -> NDArray[np.int64]:
    """Every index at which a crop may begin: all frames it takes are posed."""
    places = len(posed) - _reach(config) + 1
    if places < 1:
        return np.zeros(0, dtype=np.int64)
    good = np.ones(places, dtype=np.bool_)
    for frame in range(config.frames):
        good &= posed[frame * config.stride :][:places]
    return np.flatnonzero(good)
