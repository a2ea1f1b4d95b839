"""Sound footage to plant defects into: well-posed synthetic worlds, and windows of real clips, by number."""

import functools
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.clip import rng_for
from wmkit.errors import InputError
from wmkit.formats.poses_json import read_poses_json
from wmkit.video import VideoConfig, discover, identify, open_source
from wmkit.worlds.defects import Footage, Need
from wmkit.worlds.families import Film, WorldCase, film, survey

__all__ = [
    "REAL_CLIPS",
    "SEEDS",
    "SOUND_FAMILIES",
    "Material",
    "MaterialKey",
    "RealClip",
    "Seeds",
    "fitted",
    "material",
    "missing_clips",
]

SOUND_FAMILIES = ("s_curve", "orbit", "backtrack", "elevator", "spiral", "crane", "double_loop", "walk", "drive")
SOUND_STOPS = 0.5  # a world whose own exposure steps farther is a defect already
SHORTEST_S = 2.1  # a zoom of two seconds fits in
TRIES, STRIDE = 20, 500  # of worlds that are not sound; between their seeds
SIDE_PX, FRAMES, FASTEST_FPS = 480, 36, 16.5
KEPT = (0.85, 1.0)  # share of a real picture's sides that a window keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Worlds are drawn from seeds `first` to `first + 9999`."""

    first: int
    count: int = 10_000


SEEDS: MappingProxyType[str, Seeds] = MappingProxyType(
    {"tuning": Seeds(first=20_000), "evaluation": Seeds(first=40_000)}
)
"""Filters and limits are tuned on the one and judged on the other; p_good was fitted to seeds 3000 to 3134."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealClip:
    """A clip below the data folder. `use`: whose seeds it belongs to; `camera`: what it does; `poses`: its labels."""

    path: str
    use: str
    camera: str = "moves"
    poses: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return Path(self.path).parts[1].removesuffix(".mp4")


REAL_CLIPS = (
    RealClip(path="raw/carphone.mp4", use="tuning", camera="rides along"),
    RealClip(path="raw/vipe_dog.mp4", use="tuning", camera="follows"),
    RealClip(path="posed/kitti06_gray/video.mp4", use="tuning", poses="posed/kitti06_gray/poses.json"),
    RealClip(path="posed/icl_livingroom/video.mp4", use="tuning", poses="posed/icl_livingroom/poses.json"),
    RealClip(path="raw/coffee_static.mp4", use="tuning", camera="stands"),
    RealClip(path="raw/davis_lady_running.mp4", use="evaluation", camera="follows"),
    RealClip(path="raw/generated_cosmos.mp4", use="evaluation", camera="follows"),
    RealClip(
        path="posed/sevenscenes_kitchen/video.mp4", use="evaluation", poses="posed/sevenscenes_kitchen/poses.json"
    ),
    RealClip(path="posed/gopro_max_walk/max-heromode.mp4", use="evaluation"),
    RealClip(path="raw/juggle.mp4", use="evaluation", camera="stands"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialKey:
    """Which piece of footage: number `index` of the seeds `use`.

    kind    "world", or "real" below the data folder `real`.
    needs   "footage" takes any sound clip, "cameras" one whose camera moves, "labels" one that has them.
    family  of worlds and real clips that are no sound footage but a defect themselves; "" for sound ones.
    """

    kind: str
    use: str
    index: int
    needs: Need = "footage"
    family: str = ""
    real: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """Footage and, of a world, its truth."""

    name: str
    footage: Footage
    film: Film | None = None


def missing_clips(real: Path, use: str) -> list[str]:
    """Real clips of these seeds that are not below the data folder."""
    return [clip.path for clip in REAL_CLIPS if clip.use == use and not (real / clip.path).is_file()]


def material(key: MaterialKey) -> Material:
    """The same key, the same pixels. InputError when no sound footage is found under this number."""
    return _world(key.use, key.index, key.family) if key.kind == "world" else _real(key)


@functools.lru_cache(maxsize=6)
def _world(use: str, index: int, family: str) -> Material:
    seeds = SEEDS[use]
    for attempt in range(TRIES):
        name = family or SOUND_FAMILIES[index % len(SOUND_FAMILIES)]
        case = WorldCase(family=name, seed=seeds.first + (index + attempt * STRIDE) % seeds.count)
        shot = film(case)
        if family or _sound(shot):
            rows = np.stack([lens.row for lens in shot.intrinsics])
            poses = shot.trajectory.world_from_cam
            labelled = Footage(rgb=shot.rgb, time_s=shot.trajectory.time_s, world_from_cam=poses, intrinsics=rows)
            return Material(name=case.name, footage=labelled, film=shot)
    raise InputError(f"{use} seeds: expected a sound world within {TRIES} tries of number {index}, got none")


def _sound(shot: Film) -> bool:
    steps = np.abs(np.diff(np.log2(shot.imaging.gain))) * 2.2
    long_enough = float(shot.trajectory.time_s[-1]) >= SHORTEST_S
    return long_enough and float(steps.max()) < SOUND_STOPS and survey(shot).well_posed


def _real(key: MaterialKey) -> Material:
    clips = [clip for clip in REAL_CLIPS if clip.use == key.use and _suits(clip, key)]
    rng = rng_for(key.index, key.use, "bench.filters.window")
    clip = clips[(key.index // 2) % len(clips)]
    shot = _decoded(key.real, clip)
    count = min(FRAMES, len(shot.rgb))
    first = int(rng.integers(0, len(shot.rgb) - count + 1))
    height, width = shot.rgb.shape[1:3]
    kept = float(rng.uniform(*KEPT))
    size = (int(height * kept) // 2 * 2, int(width * kept) // 2 * 2)
    y, x = int(rng.integers(0, height - size[0] + 1)), int(rng.integers(0, width - size[1] + 1))
    part = slice(first, first + count)
    rows = None if shot.intrinsics is None else shot.intrinsics[part] - np.array([0, 0, x, y])
    footage = Footage(
        rgb=shot.rgb[part, y : y + size[0], x : x + size[1]],
        time_s=shot.time_s[part] - shot.time_s[first],
        world_from_cam=None if shot.world_from_cam is None else shot.world_from_cam[part],
        intrinsics=rows,
    )
    return Material(name=f"{clip.name}@{first}", footage=footage)


def _suits(clip: RealClip, key: MaterialKey) -> bool:
    if key.family:
        return clip.camera == "stands"
    if key.needs == "footage":
        return clip.camera != "stands"
    return clip.camera == "moves" and (bool(clip.poses) or key.needs == "cameras")


@functools.lru_cache(maxsize=10)
def _decoded(folder: str, clip: RealClip) -> Footage:
    """The clip at 480 px and, by leaving out all but every k-th frame, at no more than 16.5 frames a second."""
    (found,) = discover([Path(folder) / clip.path]).clips
    source = open_source(identify(found), VideoConfig(fps=None, max_side=SIDE_PX))
    every = int(np.ceil(source.facts.native_fps / FASTEST_FPS))
    frames: list[NDArray[np.uint8]] = []
    for window in source.windows():
        frames += [frame.copy() for frame in window.rgb[-window.start % every :: every]]
    time_s = np.arange(len(frames)) * every / source.facts.native_fps
    if not clip.poses:
        return Footage(rgb=np.stack(frames), time_s=time_s)
    track = read_poses_json(Path(folder) / clip.poses)
    assert track.intrinsics_px is not None
    rows = track.intrinsics_px[::every] * (source.view.width / source.clip.width)
    return Footage(rgb=np.stack(frames), time_s=time_s, world_from_cam=track.world_from_cam[::every], intrinsics=rows)


def fitted(other: Footage, footage: Footage) -> Footage:
    """`other` at the size of `footage`, cropped to its shape and shrunk or enlarged; no longer than it."""
    height, width = footage.rgb.shape[1:3]
    high, wide = other.rgb.shape[1:3]
    crop = (min(high, wide * height // width), min(wide, high * width // height))
    y, x = (high - crop[0]) // 2, (wide - crop[1]) // 2
    count = min(len(other.rgb), len(footage.rgb))
    rgb = [
        cv2.resize(frame[y : y + crop[0], x : x + crop[1]], (width, height), interpolation=cv2.INTER_AREA)
        for frame in other.rgb[:count]
    ]
    return Footage(rgb=np.stack(rgb).astype(np.uint8), time_s=other.time_s[:count])
