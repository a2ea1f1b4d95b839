"""One random clip of a motion family: a pure function of (family, size, seed), filmed into memory with its truth."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics, Trajectory
from wmkit.camera_paths import CameraPath, SampledPath
from wmkit.clip import rng_for
from wmkit.errors import InputError
from wmkit.worlds.families.imaging import Imaging, draw_imaging, expose
from wmkit.worlds.families.motion import FAMILIES, draw_path
from wmkit.worlds.families.place import Place, draw_place
from wmkit.worlds.render import render
from wmkit.worlds.scene import World

__all__ = ["SIZES", "CaseSize", "Film", "WorldCase", "film"]

Rng = np.random.Generator
FINE = 12  # steps a frame interval is divided into: where sub-frames can lie
SHUTTER_SHARES = np.linspace(-0.5, 0.5, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSize:
    """Picture size, px, and how many frames a case may have (both ends included)."""

    width: int
    height: int
    frames: tuple[int, int]


SIZES: MappingProxyType[str, CaseSize] = MappingProxyType(
    {
        "standard": CaseSize(width=640, height=360, frames=(40, 80)),
        "small": CaseSize(width=320, height=180, frames=(24, 36)),
        "tiny": CaseSize(width=192, height=108, frames=(24, 26)),
    }
)
"""`standard` is for tables that people compare, `small` for statistics over thousands, `tiny` for unit tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldCase:
    """Which clip: the recipe that crosses processes. Raises InputError for an unknown family or size."""

    family: str
    seed: int
    size: str = "small"

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise InputError(f"family: expected one of {', '.join(FAMILIES)}, got {self.family!r}")
        if self.size not in SIZES:
            raise InputError(f"size: expected one of {', '.join(SIZES)}, got {self.size!r}")

    @property
    def name(self) -> str:
        """Unique among all cases."""
        return f"{self.family}-{self.size}-{self.seed:06d}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
    """A case as it was filmed.

    rgb          (N, h, w, 3) uint8.
    trajectory   the true cameras, metric.
    intrinsics   the true ones, one row a frame.
    z            (N, h, w) float32 metres, exact, at the middle of the exposure.
    clean        (N, h, w, 3) uint8: before noise, exposure and compression.
    moving       (N, h, w) bool: pixels that show something that moves on its own.
    imaging      what was done to the pictures.
    """

    rgb: NDArray[np.uint8]
    trajectory: Trajectory
    intrinsics: tuple[Intrinsics, ...]
    z: NDArray[np.float32]
    clean: NDArray[np.uint8]
    moving: NDArray[np.bool_]
    imaging: Imaging


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    """Everything drawn, nothing rendered: poses and shifts at FINE steps a frame."""

    frames: int
    fps: float
    poses: Array
    intrinsics: tuple[Intrinsics, ...]
    world: World
    shift: Array | None
    imaging: Imaging


def film(case: WorldCase, renderer: str = "auto") -> Film:
    """Render the case. With one renderer the bytes depend on the case alone."""
    plan = _plan(case)
    noise = rng_for(case.seed, case.name, "noise")
    pictures, clean, depths = [], [], []
    for index, (shots, z) in enumerate(_exposures(plan, renderer)):
        clean.append(np.mean(shots, axis=0).round().astype(np.uint8) if len(shots) > 1 else shots[0])
        pictures.append(expose(plan.imaging, noise, index, shots))
        depths.append(z)
    middle = np.arange(plan.frames) * FINE
    path = SampledPath(world_from_cam=plan.poses[middle], time_s=np.arange(plan.frames) / plan.fps)
    z = np.stack(depths)
    return Film(
        rgb=np.stack(pictures),
        trajectory=path.trajectory(),
        intrinsics=tuple(plan.intrinsics[index] for index in middle),
        z=z,
        clean=np.stack(clean),
        moving=_moving(plan, z),
        imaging=plan.imaging,
    )


def _plan(case: WorldCase) -> _Plan:
    rng = rng_for(case.seed, case.name, "plan")
    size = SIZES[case.size]
    frames = int(rng.integers(size.frames[0], size.frames[1] + 1))
    fps = 5.0 if case.family == "low_fps" else float(rng.choice([8.0, 12.0, 16.0]))
    path = draw_path(case.family, rng, (frames - 1) / fps)
    poses = _fine(path, frames, fps)
    plain_share = float(rng.choice([0.0, 0.0, rng.uniform(0.0, 0.5)]))
    if case.family == "low_texture":
        plain_share = float(rng.uniform(0.35, 0.95))
    movers = 0
    if case.family == "moving_objects":
        movers = int(rng.integers(2, 7))
    elif case.family == "static" and rng.random() < 0.3:
        movers = 1
    place = draw_place(rng, poses[::FINE], plain_share=plain_share, movers=movers)
    poses = poses.copy()
    poses[:, 1, 3] -= place.height_m
    return _Plan(
        frames=frames,
        fps=fps,
        poses=poses,
        intrinsics=_lenses(rng, case, len(poses)),
        world=place.world,
        shift=_shifts(rng, place, poses) if movers else None,
        imaging=draw_imaging(rng, case.family, frames),
    )


def _fine(path: CameraPath, frames: int, fps: float) -> Array:
    """(FINE (frames - 1) + 1, 4, 4) poses; every FINE-th is a frame's."""
    return path.sample(FINE * (frames - 1) + 1, FINE * fps).world_from_cam


def _lenses(rng: Rng, case: WorldCase, count: int) -> tuple[Intrinsics, ...]:
    """Square pixels, centred; 45 to 95 degrees wide; the family `zoom` changes focal length 1.15 to 2 times."""
    size = SIZES[case.size]
    wide = Intrinsics.from_fov(float(rng.uniform(45, 95)), size.width, size.height)
    if case.family != "zoom":
        return (wide,) * count
    done = np.linspace(0, 1, count)
    ease = done**2 * (3 - 2 * done)
    if rng.random() < 0.5:
        ease = 1 - ease
    focal = wide.fx * float(rng.uniform(1.15, 2.0)) ** ease
    return tuple(
        Intrinsics(fx=f, fy=f, cx=wide.cx, cy=wide.cy, width=size.width, height=size.height) for f in focal.tolist()
    )


def _shifts(rng: Rng, place: Place, poses: Array) -> Array:
    """(len(poses), Q, 3) metres: each mover crosses or goes along with the camera, bobs, and never meets the camera."""
    done = np.linspace(0, 1, len(poses))
    shift = np.zeros((len(poses), len(place.mover), 3))
    corners = np.array([quad.corners.mean(axis=0) for quad in place.world.quads])
    for mover in range(int(place.mover.max()) + 1):
        own = np.flatnonzero(place.mover == mover)
        way = np.zeros((len(poses), 3))
        if rng.random() < 0.4:
            way += (poses[:, :3, 3] - poses[0, :3, 3]) * float(rng.uniform(0.4, 1.1))
        heading, far_m = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.2, 1.5))
        way += done[:, None] * far_m * np.array([np.sin(heading), 0.0, np.cos(heading)])
        way[:, 1] = -0.04 * np.abs(np.sin(2 * np.pi * done * float(rng.uniform(1, 5))))
        middle = corners[own].mean(axis=0)
        half_m = float(np.linalg.norm(corners[own][:, [0, 2]] - middle[[0, 2]], axis=1).max()) * 1.5
        for _ in range(6):  # a shorter way until it stays clear of the camera
            away_m = np.linalg.norm((middle + way - poses[:, :3, 3])[:, [0, 2]], axis=1)
            if away_m.min() > half_m + 0.25:
                break
            way = way / 2
        shift[:, own] = way[:, None]
    return shift


def _exposures(plan: _Plan, renderer: str) -> Iterator[tuple[list[NDArray[np.uint8]], NDArray[np.float32]]]:
    """Of every frame its sub-frames and the depth at the middle one."""
    count = plan.imaging.sub_frames
    share = SHUTTER_SHARES if count > 1 else np.zeros(1)
    at = np.arange(plan.frames)[:, None] * FINE + np.rint(share * plan.imaging.shutter * FINE).astype(int)
    at = np.clip(at, 0, len(plan.poses) - 1).ravel()
    shift = None if plan.shift is None else plan.shift[at]
    intrinsics = tuple(plan.intrinsics[index] for index in at)
    shots, z = [], None
    for index, frame in enumerate(render(plan.world, intrinsics, plan.poses[at], renderer, shift)):
        shots.append(frame.rgb)
        if index % count == count // 2:
            z = frame.z
        if len(shots) == count:
            assert z is not None
            yield shots, z
            shots = []


def _moving(plan: _Plan, z: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels nearer than the world is without its movers, found at a quarter of the size."""
    moving = np.zeros(z.shape, dtype=np.bool_)
    if plan.shift is None:
        return moving
    middle = np.arange(plan.frames) * FINE
    # Movers a kilometre below the ground are out of every picture.
    still = np.zeros_like(plan.shift[middle])
    still[:, np.abs(plan.shift).max(axis=(0, 2)) > 0] = (0.0, 1000.0, 0.0)
    step = 4
    lenses = tuple(
        lens.resized(lens.width // step, lens.height // step)
        for lens in np.array(plan.intrinsics, dtype=object)[middle]
    )
    for index, frame in enumerate(render(plan.world, lenses, plan.poses[middle], "numpy", still)):
        coarse = z[index, step // 2 :: step, step // 2 :: step][: frame.z.shape[0], : frame.z.shape[1]]
        seen = coarse < 0.97 * frame.z
        moving[index] = np.kron(seen, np.ones((step, step), dtype=bool))[: z.shape[1], : z.shape[2]]
    return moving
