"""Defects planted into sound footage, one line each with its severity: what `wmkit bench filters` must find again."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.errors import InputError

__all__ = ["DEFECTS", "Defect", "Footage", "Need", "faded"]

Rng = np.random.Generator
Need = Literal["footage", "cameras", "labels"]
STOP = 2 ** (1 / 2.2)  # grey levels of a picture with gamma 2.2
ZOOM_S, GAP_S, FROZEN_S = 2.0, 2.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Footage:
    """A clip before it is written to a file.

    rgb             (N, h, w, 3) uint8.
    time_s          (N,) presentation times, increasing from 0.
    world_from_cam  (N, 4, 4) and intrinsics (N, 4) px fx fy cx cy: its labels, None where it has none.
    tags            what the container shall say of itself.
    damaged         coded frames whose bytes are overwritten after encoding.
    """

    rgb: NDArray[np.uint8]
    time_s: Array
    world_from_cam: Array | None = None
    intrinsics: Array | None = None
    tags: tuple[tuple[str, str], ...] = ()
    damaged: int = 0

    def __post_init__(self) -> None:
        if self.rgb.ndim != 4 or self.rgb.shape[3] != 3 or len(self.time_s) != len(self.rgb):
            got = f"{self.rgb.shape} and {len(self.time_s)} times"
            raise InputError(f"footage: expected frames (N, h, w, 3) and as many times, got {got}")
        for labels in (self.world_from_cam, self.intrinsics):
            if labels is not None and len(labels) != len(self.rgb):
                raise InputError(f"footage: expected {len(self.rgb)} labels, one a frame, got {len(labels)}")

    @property
    def fps(self) -> float:
        """Mean rate, 1/s."""
        return (len(self.rgb) - 1) / float(self.time_s[-1] - self.time_s[0])


Plant = Callable[[Footage, Footage, Rng], Footage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One row of the table.

    what     its severity, for people.
    needs    what has to run before it can be seen: the footage filters, the pose engine, or a check of given labels.
    plant    (sound footage, other footage of the same size and length, generator) -> the footage with the defect.
    family   of worlds that are the defect themselves; nothing is planted then.
    outside  why it is measured but not counted among those that must be caught.
    """

    name: str
    what: str
    needs: Need
    plant: Plant
    family: str = ""
    outside: str = ""


def _place(footage: Footage, rng: Rng, before: int, after: int) -> int:
    """A frame with at least `before` others before it and `after` others from it on."""
    return int(rng.integers(before, len(footage.rgb) - after + 1))


def _pixels(footage: Footage, rgb: NDArray[np.uint8] | Array) -> Footage:
    return dataclasses.replace(footage, rgb=np.clip(np.rint(rgb), 0, 255).astype(np.uint8))


def _as_it_is(footage: Footage, _other: Footage, _rng: Rng) -> Footage:
    return footage


def _hard_cut(footage: Footage, other: Footage, rng: Rng) -> Footage:
    cut = _place(footage, rng, 1, 1)
    return _pixels(footage, np.concatenate([footage.rgb[:cut], other.rgb[cut:]]))


def faded(first: NDArray[np.uint8], second: NDArray[np.uint8], start: int, between: int) -> NDArray[np.uint8]:
    """Two shots (N, h, w, 3) as one: frames `start` to `start + between - 1` are blends, in even steps, of both."""
    share = np.clip((np.arange(len(first)) - start + 1) / (between + 1), 0, 1)[:, None, None, None]
    return np.rint((1 - share) * first + share * second).astype(np.uint8)


def _cross_fade(footage: Footage, other: Footage, rng: Rng, between: int) -> Footage:
    start = _place(footage, rng, 3, between + 3)
    return _pixels(footage, faded(footage.rgb, other.rgb, start, between))


def _bars(footage: Footage, _other: Footage, rng: Rng, axis: int) -> Footage:
    rgb = np.moveaxis(footage.rgb, axis, 1).copy()
    wide_px = round(0.03 * rgb.shape[1])
    rgb[:, :wide_px] = rgb[:, -wide_px:] = int(rng.choice([0, 16]))
    return _pixels(footage, np.moveaxis(rgb, 1, axis))


def _duplicated(footage: Footage, _other: Footage, rng: Rng) -> Footage:
    index = np.arange(len(footage.rgb))
    return _pixels(footage, footage.rgb[index - (index % 8 == int(rng.integers(1, 8)))])


def _frozen(footage: Footage, _other: Footage, rng: Rng) -> Footage:
    count = round(FROZEN_S * footage.fps)
    held = _place(footage, rng, 0, count + 1)
    rgb = footage.rgb.copy()
    rgb[held : held + count + 1] = rgb[held]
    return _pixels(footage, rgb)


def _exposure(footage: Footage, _other: Footage, rng: Rng) -> Footage:
    gain = np.ones(len(footage.rgb))
    gain[_place(footage, rng, 1, 1) :] = float(rng.choice([STOP, 1 / STOP]))
    return _pixels(footage, footage.rgb * gain[:, None, None, None])


def _dark(footage: Footage, _other: Footage, _rng: Rng) -> Footage:
    return _pixels(footage, np.asarray(footage.rgb * 0.1, dtype=np.float64))


def _black(footage: Footage, _other: Footage, rng: Rng) -> Footage:
    rgb = footage.rgb.copy()
    first = _place(footage, rng, 0, 2)
    rgb[first : first + 2] = 0
    return _pixels(footage, rgb)


def _blurred(footage: Footage, _other: Footage, _rng: Rng) -> Footage:
    return _pixels(footage, np.stack([cv2.GaussianBlur(frame, (0, 0), 3.0) for frame in footage.rgb]))


def _grey(footage: Footage, _other: Footage, _rng: Rng) -> Footage:
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in footage.rgb])
    return _pixels(footage, np.repeat(grey[..., None], 3, axis=3))


def _logo(footage: Footage, _other: Footage, rng: Rng) -> Footage:
    height, width = footage.rgb.shape[1:3]
    x, y = (0.04 if rng.random() < 0.5 else 0.62), (0.10 if rng.random() < 0.5 else 0.94)
    mark = np.zeros((height, width), np.uint8)
    cv2.putText(mark, "NEWS 24", (int(x * width), int(y * height)), cv2.FONT_HERSHEY_DUPLEX, width / 420, 255, 1)
    alpha = 0.9 * mark[..., None] / 255
    return _pixels(footage, np.asarray(footage.rgb * (1 - alpha) + 255 * alpha, dtype=np.float64))


def _gap(footage: Footage, _other: Footage, rng: Rng) -> Footage:
    time_s = footage.time_s.copy()
    time_s[_place(footage, rng, 1, 1) :] += GAP_S
    return dataclasses.replace(footage, time_s=time_s)


def _jittered(footage: Footage, _other: Footage, rng: Rng) -> Footage:
    step_s = np.diff(footage.time_s) * np.exp(rng.uniform(-np.log(3), np.log(3), len(footage.rgb) - 1))
    return dataclasses.replace(footage, time_s=np.concatenate([[0.0], np.cumsum(step_s)]))


def _tagged(footage: Footage, _other: Footage, _rng: Rng, speed: float) -> Footage:
    return dataclasses.replace(footage, tags=(("com.android.capture.fps", f"{footage.fps / speed:.6g}"),))


def _damaged(footage: Footage, _other: Footage, _rng: Rng) -> Footage:
    return dataclasses.replace(footage, damaged=1)


def _mirrored(footage: Footage, _other: Footage, _rng: Rng) -> Footage:
    return _pixels(footage, footage.rgb[:, :, ::-1])


def _reversed(footage: Footage, _other: Footage, _rng: Rng) -> Footage:
    return _pixels(footage, footage.rgb[::-1])


def _zoomed(footage: Footage, _other: Footage, rng: Rng) -> Footage:
    height, width = footage.rgb.shape[1:3]
    spare_s = max(0.0, float(footage.time_s[-1]) - ZOOM_S)
    done = np.clip((footage.time_s - float(rng.uniform(0, spare_s))) / ZOOM_S, 0, 1)
    factor = 1.3 ** (done if rng.random() < 0.5 else 1 - done)
    frames = []
    for frame, times in zip(footage.rgb, factor, strict=True):
        # pixel centres lie at half-integers, and OpenCV counts from the first centre
        shift = np.array([(width - 1) * (1 - times) / 2, (height - 1) * (1 - times) / 2])
        matrix = np.array([[times, 0, shift[0]], [0, times, shift[1]]])
        frames.append(cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_CUBIC))
    return _pixels(footage, np.stack(frames))


def _half_moving(footage: Footage, other: Footage, rng: Rng) -> Footage:
    height, width = footage.rgb.shape[1:3]
    rows, columns = slice(0, height), slice(0, width)
    match int(rng.integers(4)):
        case 0:
            rows = slice(0, height // 2)
        case 1:
            rows = slice(height // 2, height)
        case 2:
            columns = slice(0, width // 2)
        case _:
            columns = slice(width // 2, width)
    rgb = footage.rgb.copy()
    rgb[:, rows, columns] = other.rgb[:, rows, columns]
    return _pixels(footage, rgb)


def _scale_jump(footage: Footage, _other: Footage, rng: Rng) -> Footage:
    poses = footage.world_from_cam
    if poses is None:
        raise InputError("scale jump: expected footage with labels")
    third = len(poses) // 3
    at = _place(footage, rng, third, third)
    poses = poses.copy()
    poses[at:, :3, 3] = poses[at, :3, 3] + 1.3 ** float(rng.choice([-1, 1])) * (poses[at:, :3, 3] - poses[at, :3, 3])
    return dataclasses.replace(footage, world_from_cam=poses)


NO_CUE = "shows in no pixel without text or falling things"
DEFECTS: tuple[Defect, ...] = (
    Defect(name="hard_cut", what="another shot from any frame on", needs="footage", plant=_hard_cut),
    Defect(
        name="cross_fade",
        what="8 blended frames between two shots, 3 of either at least",
        needs="footage",
        plant=partial(_cross_fade, between=8),
    ),
    Defect(
        name="cross_fade_4",
        what="4 blended frames",
        needs="footage",
        plant=partial(_cross_fade, between=4),
        outside="shorter than what must be caught",
    ),
    Defect(
        name="cross_fade_16",
        what="16 blended frames",
        needs="footage",
        plant=partial(_cross_fade, between=16),
        outside="longer than what must be caught",
    ),
    Defect(
        name="letterbox",
        what="bars of 3 % of the height above and below",
        needs="footage",
        plant=partial(_bars, axis=1),
    ),
    Defect(
        name="pillarbox",
        what="bars of 3 % of the width left and right",
        needs="footage",
        plant=partial(_bars, axis=2),
    ),
    Defect(name="duplicated", what="one frame in 8 shown twice", needs="footage", plant=_duplicated),
    Defect(name="frozen", what="1 s without a new frame", needs="footage", plant=_frozen),
    Defect(name="exposure_jump", what="1 stop up or down at any frame", needs="footage", plant=_exposure),
    Defect(name="dark", what="a tenth of the brightness", needs="footage", plant=_dark),
    Defect(name="black_frames", what="2 black frames anywhere", needs="footage", plant=_black),
    Defect(name="blur", what="Gaussian, sigma 3 px, every frame", needs="footage", plant=_blurred),
    Defect(
        name="corrupt_slice", what="a quarter of a coded frame's bytes overwritten", needs="footage", plant=_damaged
    ),
    Defect(name="time_gap", what="2 s missing at any frame", needs="footage", plant=_gap),
    Defect(name="frame_rate_jitter", what="intervals of 1/3 to 3 times the usual", needs="footage", plant=_jittered),
    Defect(
        name="slow_motion",
        what="8 times slower, the phone says so",
        needs="footage",
        plant=partial(_tagged, speed=1 / 8),
    ),
    Defect(
        name="time_lapse", what="30 times faster, the phone says so", needs="footage", plant=partial(_tagged, speed=30)
    ),
    Defect(name="grey", what="no colour", needs="footage", plant=_grey, outside="no default row: sound all the same"),
    Defect(name="logo", what="two words in a corner", needs="footage", plant=_logo, outside="no default row"),
    Defect(name="mirrored", what="left is right", needs="footage", plant=_mirrored, outside=NO_CUE),
    Defect(name="reversed", what="played backwards", needs="footage", plant=_reversed, outside=NO_CUE),
    Defect(name="static", what="the camera stands still", needs="cameras", plant=_as_it_is, family="static"),
    Defect(
        name="pure_rotation", what="the camera only turns", needs="cameras", plant=_as_it_is, family="pure_rotation"
    ),
    Defect(name="zoom", what="1.3 times over 2 s, in or out", needs="cameras", plant=_zoomed),
    Defect(name="half_moving", what="half of the picture moves by itself", needs="cameras", plant=_half_moving),
    Defect(
        name="scale_jump",
        what="labels 1.3 times longer or shorter from a frame of the middle third on",
        needs="labels",
        plant=_scale_jump,
    ),
)
"""Every defect at the severity it is planted at; wmkit.bench.filters says with which seeds."""
