"""The samples of one shards folder as crops: frames and cameras cut alike, a pure function of (seed, sample, draw)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, ScaleKind, invert_rigid
from wmkit.clip import rng_for
from wmkit.dataset.decode import as_video, decode_frames, fit_cameras, fit_frames, load_array
from wmkit.dataset.depth import DepthRows, depth_of_window, has_depth
from wmkit.dataset.latents import (
    LatentFacts,
    TextFacts,
    TextRows,
    precomputed,
    read_latent,
    read_text,
    windows_of,
)
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.remote_shards import RemoteShards
from wmkit.dataset.schema import VAL, Folder, Sample, ShardsFolder, open_shards, opened, read_part
from wmkit.errors import CorruptShardError, InputError

__all__ = ["Crop", "Crops"]


class Crop(NamedTuple):
    """One element of a batch: (N, 3, H, W) float32 in [-1, 1] with N = T or 0, (T, 4, 4), (T, 4), (t, C, h, w)."""

    sample: Sample
    video: NDArray[np.float32]
    world_from_cam: Array
    intrinsics: Array
    caption: str
    latent: NDArray[np.float32] | None
    text: TextRows | None
    depth: DepthRows | None

    @property
    def metric(self) -> bool:
        """Whether the unit is the metre."""
        return self.sample.scale is ScaleKind.METRIC


class Crops:
    """Random access to crops of the samples that have any.

    samples  those, in the order of the shards.
    skipped  samples that never give a crop, by reason: `too_short`, or `unposed` when no run of `frames` consecutive
             posed frames exists, or none that was encoded where latents are read.
    """

    __slots__ = ("_config", "_folder", "_latents", "_texts", "samples", "skipped")

    def __init__(self, shards: Path | str | ShardsFolder, config: LoaderConfig) -> None:
        """Of an opened folder, else head and index are read; InputError when no sample gives a crop, and what
        `open_shards` raises.
        """
        folder = shards if isinstance(shards, ShardsFolder) else open_shards(shards)
        self._config, self._folder = config, folder.path
        self._latents, self._texts = _added(folder, config)
        there = {sample.split for sample in folder.samples}
        wanted = there - {VAL} if config.split is None else there & {config.split}
        samples = [sample for sample in folder.samples if sample.split in wanted]
        if not samples:
            got = ", ".join(sorted(there)) or "none"
            raise InputError(f"{folder.path}: expected samples of split {config.split or 'train'}, got {got}")
        if config.depth and not any(has_depth(sample) for sample in samples):
            raise InputError(
                f"{folder.path}: expected depth maps in the shards, got none; run wmkit build-shards --depth"
            )
        self.samples = tuple(sample for sample in samples if len(self._places(sample)))
        short = sum(1 for sample in samples if sample.frames < _reach(config))
        unposed = len(samples) - len(self.samples) - short
        self.skipped: Mapping[str, int] = {"too_short": short, "unposed": unposed}
        if not self.samples:
            apart = "consecutive posed frames" if config.stride == 1 else f"posed frames {config.stride} apart"
            apart += "" if self._latents is None else " in a window that was encoded"
            raise InputError(
                f"{folder.path}: expected a sample with {config.frames} {apart}, got none of "
                f"{len(samples)} ({short} too short); ask for fewer frames"
            )

    @property
    def remote(self) -> bool:
        """Whether the samples lie behind a URL."""
        return isinstance(self._folder, RemoteShards)

    @property
    def nbytes(self) -> int:
        """Of a crop's pixels, depth and latents."""
        config, latents = self._config, self._latents
        frames = 0 if config.picture == "latent" else config.frames
        values = frames * 3 * config.height * config.width
        if latents is not None:
            cells = (config.height // latents.downscale) * (config.width // latents.downscale)
            values += (1 + (config.frames - 1) // latents.stride) * latents.channels * cells
        depth = config.frames * config.height * config.width * (4 + 1) if config.depth else 0
        return 4 * values + depth

    def will_need(self, number: int) -> None:
        """A remote sample is fetched meanwhile, as far as there is room; a local one is not touched."""
        if isinstance(self._folder, RemoteShards):
            self._folder.will_need(self.samples[number])

    def crop(self, number: int, draw: int) -> Crop:
        """A crop of sample `number`; where it begins depends on the seed, the sample's key and `draw`.

        CorruptShardError naming shard and sample when bytes differ from what the index promises.
        """
        sample = self.samples[number]
        with opened(self._folder, sample) as place:
            return self._read(place, sample, draw)

    def _read(self, place: Folder, sample: Sample, draw: int) -> Crop:
        config = self._config
        check = config.checks(draw)
        places = self._places(sample)
        window = int(rng_for(config.seed, sample.key, f"crop {draw}").integers(len(places)))
        start = int(places[window])
        rows = slice(start, start + _reach(config), config.stride)
        poses = load_array(place, sample, "trajectory.npy", (sample.frames, 4, 4), check=check)[rows]
        cameras = load_array(place, sample, "intrinsics.npy", (sample.frames, 4), check=check)[rows]
        if not np.isfinite(poses).all():
            raise CorruptShardError(
                f"{sample.shard}: expected poses where the index says so of sample {sample.key}, got NaN; run "
                "wmkit repair"
            )
        relative = invert_rigid(poses[:1]) @ poses
        relative[0] = np.eye(4)  # what rounding leaves of it is not worth having
        latent = None
        if self._latents is not None:
            count = 1 + (config.frames - 1) // self._latents.stride
            latent = read_latent(place, sample, self._latents, window, count, check=check)
        return Crop(
            sample=sample,
            video=self._video(place, sample, start, check),
            world_from_cam=relative,
            intrinsics=fit_cameras(cameras, (sample.width, sample.height), (config.width, config.height)),
            caption=_caption(place, sample, check) if config.captions else "",
            latent=latent,
            text=None if self._texts is None else read_text(place, sample, self._texts, check=check),
            depth=self._depth(place, sample, start, check),
        )

    def _places(self, sample: Sample) -> NDArray[np.int64]:
        """Every frame at which a crop may begin; where latents are read, the k-th is that of the k-th window."""
        if self._latents is None:
            return _starts(sample.posed, self._config)
        windows = windows_of(sample.posed, self._latents)  # all of one length
        long = windows and windows[0].frames >= self._config.frames
        return np.array([window.start for window in windows] if long else [], dtype=np.int64)

    def _video(self, place: Folder, sample: Sample, start: int, check: bool) -> NDArray[np.float32]:
        config = self._config
        if config.picture == "latent":
            return np.zeros((0, 3, config.height, config.width), dtype=np.float32)
        rgb = decode_frames(place, sample, start, config.frames, config.stride, check=check)
        return as_video(fit_frames(rgb, np.zeros((0, 4)), config.width, config.height)[0])

    def _depth(self, place: Folder, sample: Sample, start: int, check: bool) -> DepthRows | None:
        config = self._config
        frames = range(start, start + _reach(config), config.stride)
        size = (config.width, config.height)
        return depth_of_window(place, sample, frames, size, check=check) if config.depth else None


def _caption(place: Folder, sample: Sample, check: bool) -> str:
    try:
        caption = json.loads(read_part(place, sample, "json", check=check)).get("caption")
    except (ValueError, AttributeError) as error:
        raise CorruptShardError(f"{sample.shard}: expected {sample.key}.json to be JSON, got {error}") from None
    return caption if isinstance(caption, str) else ""


def _added(folder: ShardsFolder, config: LoaderConfig) -> tuple[LatentFacts | None, TextFacts | None]:
    """What of the precomputed parts is to be read; InputError when it is not there, or not as asked for."""
    if config.picture == "video" and not config.texts:
        return None, None
    shards, made = folder.path, precomputed(folder.head)
    if made is None or (config.texts and made.texts is None):
        flag = "" if made is None else " with --text"
        raise InputError(f"{shards}: expected latents and texts in the shards, got none; run wmkit precompute{flag}")
    if config.picture == "video":
        return None, made.texts
    facts = made.latents
    asked = (config.height, config.width, config.stride)
    stored = (facts.height, facts.width, facts.frame_stride)
    if asked != stored:
        raise InputError(
            f"{shards}: expected latents of {asked[0]}x{asked[1]} px and every {asked[2]}th frame, got {stored[0]}x"
            f"{stored[1]} px and every {stored[2]}th; ask for these, or precompute with --size and --stride"
        )
    if (config.frames - 1) % facts.stride:
        raise InputError(f"loader frames: expected 1 + {facts.stride} k, as {facts.codec} has it, got {config.frames}")
    return facts, made.texts if config.texts else None


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
