"""What a cheap camera makes of a perfect picture: shutter, exposure, noise, JPEG. Drawn once a case, then applied."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array

__all__ = ["Imaging", "draw_imaging", "expose"]

Rng = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imaging:
    """One case's camera.

    shutter       share of the frame interval that the shutter is open; 0 is an instant.
    sub_frames    pictures averaged into a frame, 1 for an instant.
    gain          (N,) exposure of every frame as a factor.
    noise_level   standard deviation at mid-grey, of 255; it grows with the root of the brightness.
    jpeg_quality  0 to 100, None for no compression.
    """

    shutter: float
    sub_frames: int
    gain: Array
    noise_level: float
    jpeg_quality: int | None


def draw_imaging(rng: Rng, family: str, frames: int) -> Imaging:
    """Random; only the families `blur` and, half the time, `whip_pan` have a shutter that stays open."""
    shutter = 0.0
    if family == "blur":
        shutter = float(rng.uniform(0.3, 1.0))
    elif family == "whip_pan" and rng.random() < 0.5:
        shutter = float(rng.uniform(0.1, 0.5))
    gain = np.full(frames, float(rng.uniform(0.6, 1.1)))
    kind = rng.random()
    if kind < 0.25:  # auto-exposure drifts
        gain *= 1 + 0.25 * np.sin(np.linspace(0, float(rng.uniform(1, 6)), frames) + float(rng.uniform(0, 6)))
    elif kind < 0.4:  # and jumps
        jump = int(rng.integers(3, max(4, frames - 3)))
        gain[jump:] *= float(rng.choice([0.65, 0.8, 1.25, 1.45]))
    return Imaging(
        shutter=shutter,
        sub_frames=5 if shutter else 1,
        gain=gain,
        noise_level=float(np.exp(rng.uniform(np.log(0.5), np.log(5.0)))),
        jpeg_quality=int(rng.integers(55, 96)) if rng.random() < 0.7 else None,
    )


def expose(imaging: Imaging, rng: Rng, index: int, pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Frame `index` (h, w, 3) uint8 from its sub-frames: averaged, exposed, noisy, compressed."""
    light = np.mean(pictures, axis=0, dtype=np.float32) * np.float32(imaging.gain[index])
    grain = rng.standard_normal(light.shape, dtype=np.float32) * np.float32(imaging.noise_level)
    light += grain * np.sqrt((light + 8) / 128)
    rgb = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    if imaging.jpeg_quality is None:
        return rgb
    _, packed = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, imaging.jpeg_quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1])
