"""Small rendered worlds as image folders, with their truth: what the default engine is run on end to end."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.defaults import default_config
from wmkit.annotate.pipeline import AnnotateConfig
from wmkit.camera import Intrinsics, Lens
from wmkit.video import VideoConfig
from wmkit.worlds import DEMO_CLIPS, WorldClip
from wmkit.worlds.families import Film, WorldCase, film
from wmkit.worlds.families import case as case_module
from wmkit.worlds.render import render

__all__ = [
    "CASES",
    "LENS",
    "LENS_CLIP",
    "cameras_alone",
    "filmed",
    "flickering",
    "read_line_by_line",
    "through_the_lens",
    "write_clip",
]

CASES = {
    "moves": WorldCase(family="spiral", seed=0, size="small"),
    "stands": WorldCase(family="static", seed=0, size="small"),
    "turns": WorldCase(family="pure_rotation", seed=2, size="small"),
}
LENS = Lens(model="SIMPLE_RADIAL_FISHEYE", params=(210.0, 160.0, 90.0, 0.01), width=320, height=180)
WIDE = Intrinsics.from_fov(97.0, 480, 270)  # a pinhole that sees more than the lens in every direction
LENS_CLIP: WorldClip = replace(DEMO_CLIPS[0], intrinsics=WIDE, frames=20, fps=8.0)


@cache
def filmed(name: str) -> Film:
    """The case, rendered once a session by the renderer that gives the same bytes everywhere."""
    return film(CASES[name], "numpy")


def read_line_by_line(name: str, readout: float) -> NDArray[np.uint8]:
    """(N, h, w, 3) the case as a rolling shutter sees it: the last row a share `readout` of a frame after the first."""
    plan = case_module._plan(CASES[name])
    last = (plan.frames - 1) * case_module.FINE
    steps = round(readout * case_module.FINE)
    times = np.arange(plan.frames)[:, None] * case_module.FINE + np.arange(steps + 1) - steps // 2
    at = np.clip(times, 0, last)
    frames = render(plan.world, tuple(plan.intrinsics[i] for i in at.ravel()), plan.poses[at.ravel()], "numpy")
    shots = np.stack([frame.rgb for frame in frames]).reshape(plan.frames, steps + 1, *filmed(name).rgb.shape[1:])
    height = shots.shape[2]
    step = np.minimum(np.arange(height) * (steps + 1) // height, steps)
    return shots[:, step, np.arange(height)]


def flickering(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pictures under an exposure that jumps: to 60 % and to 150 %, every few frames."""
    gain = np.array([1.0, 0.6, 1.5, 0.8])[np.arange(len(pictures)) // 5 % 4]
    return np.clip(pictures * gain[:, None, None, None], 0, 255).astype(np.uint8)


def cameras_alone() -> AnnotateConfig:
    """The default pose backend on every image; no depth and no filters."""
    config = default_config(video=VideoConfig(fps=None, image_fps=8.0), depth=None)
    return replace(config, footage_filters=(), trajectory_filters=())


def write_clip(pictures: NDArray[np.uint8], folder: Path) -> Path:
    """An image folder of RGB pictures (N, h, w, 3), exactly."""
    folder.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        assert cv2.imwrite(str(folder / f"{index:04d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder


def through_the_lens(clip: WorldClip = LENS_CLIP) -> NDArray[np.uint8]:
    """(N, 180, 320, 3) a clip of the camera `WIDE` as `LENS` bends it, with a little sensor noise."""
    y, x = np.mgrid[0 : LENS.height, 0 : LENS.width] + 0.5
    at = LENS.to_pinhole(np.column_stack([x.ravel(), y.ravel()]), WIDE)
    assert ((at > 0) & (at < (WIDE.width, WIDE.height))).all(), "the pinhole sees all that the lens shows"
    where = (at - 0.5).reshape(*x.shape, 2).astype(np.float32)
    rng = np.random.default_rng(0)
    pictures = []
    for frame in clip.render("numpy"):
        bent = cv2.remap(frame.rgb, where[..., 0], where[..., 1], cv2.INTER_CUBIC)
        pictures.append(np.clip(bent + rng.normal(0, 2, bent.shape), 0, 255).astype(np.uint8))
    return np.stack(pictures)
