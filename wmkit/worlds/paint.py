"""Brushes that make textures: noise, random crops, colour ramps, grain. Colours are float32 RGB in [0, 255].

Every brush that draws at random takes the generator, which worlds make with `wmkit.clip.rng_for`, so that a world is a
pure function of its name and seed.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.worlds.photos import load_photo
from wmkit.worlds.scene import Texture

__all__ = [
    "Canvas",
    "Colour",
    "Painter",
    "crop",
    "framed",
    "grain",
    "letter",
    "noise",
    "piece",
    "ramp",
    "scaled",
    "texture",
    "vignette",
]

Canvas = NDArray[np.floating]  # float32 in memory
Colour = tuple[float, float, float]
Rng = np.random.Generator


@dataclass(slots=True)
class Painter:
    """A random generator and the photos opened so far: what one world's textures are painted with."""

    rng: Rng
    opened: dict[str, Canvas] = field(default_factory=dict)

    def photo(self, name: str) -> Canvas:
        """A photo of `wmkit.worlds.photos.PHOTOS`; brick is turned so that its courses lie flat."""
        if name not in self.opened:
            picture = load_photo(name).astype(np.float32)
            self.opened[name] = picture.transpose(1, 0, 2) if name == "brick.png" else picture
        return self.opened[name]


def texture(canvas: Canvas) -> Texture:
    """The canvas as a texture; its sides must be powers of two."""
    return Texture(rgb=np.clip(np.rint(canvas), 0, 255).astype(np.uint8))


def noise(rng: Rng, size: tuple[int, int], cells: tuple[int, int], octaves: int = 4) -> Canvas:
    """(h, w) smooth noise in about [-1, 1]: random lattices of `cells` (rows, columns), each octave twice as fine."""
    height, width = size
    total = np.zeros(size, dtype=np.float32)
    for octave in range(octaves):
        rows, columns = cells[0] * 2**octave, cells[1] * 2**octave
        if rows > height or columns > width:
            break
        lattice = rng.uniform(-1, 1, (rows + 1, columns + 1)).astype(np.float32)
        total += cv2.resize(lattice, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.55**octave)
    return total


def crop(rng: Rng, photo: Canvas, size: tuple[int, int], zoom: float = 1.0) -> Canvas:
    """A random, randomly mirrored part of `photo`, enlarged `zoom` times (shrunk below 1) to `size` (h, w)."""
    height, width = size
    want_h, want_w = min(photo.shape[0], round(height / zoom)), min(photo.shape[1], round(width / zoom))
    y0 = int(rng.integers(0, photo.shape[0] - want_h + 1))
    x0 = int(rng.integers(0, photo.shape[1] - want_w + 1))
    part = photo[y0 : y0 + want_h, x0 : x0 + want_w]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    how = cv2.INTER_AREA if want_h > height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=how), dtype=np.float32)


def scaled(photo: Canvas, zoom: float) -> Canvas:
    """The whole photo, `zoom` times as large."""
    size = (round(photo.shape[1] * zoom), round(photo.shape[0] * zoom))
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(photo, size, interpolation=how), dtype=np.float32)


def piece(rng: Rng, photo: Canvas, size: tuple[int, int]) -> Canvas:
    """A random, randomly mirrored part of `photo` (h, w[, 3]) of exactly `size` (h, w), which must fit in."""
    y0, x0 = (int(rng.integers(0, photo.shape[axis] - size[axis] + 1)) for axis in (0, 1))
    part = photo[y0 : y0 + size[0], x0 : x0 + size[1]]
    return part[:, ::-1] if rng.random() < 0.5 else part


def grain(rng: Rng, photo: Canvas, size: tuple[int, int], zoom: float = 1.0, patch_px: int = 160) -> Canvas:
    """(h, w) zero-mean, unit-deviation grain without a repeat: feathered random crops of `photo` laid over each other.

    The sum of squared weights is normalised, so that blended places keep the contrast of the single ones.
    """
    height, width = size
    gray = scaled(photo, zoom).mean(axis=2)
    gray = (gray - gray.mean()) / gray.std()
    patch_px = min(patch_px, *gray.shape)
    total, power = np.zeros(size, dtype=np.float32), np.full(size, 1e-6, dtype=np.float32)
    feather = np.hanning(patch_px + 2)[1:-1].astype(np.float32) ** 0.5
    weight = feather[:, None] * feather[None, :]
    step = patch_px // 2
    for top in range(-step, height, step):
        for left in range(-step, width, step):
            patch = piece(rng, gray, (patch_px, patch_px))
            y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + patch_px, height), min(left + patch_px, width)
            inner = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
            total[y0:y1, x0:x1] += patch[inner] * weight[inner]
            power[y0:y1, x0:x1] += weight[inner] ** 2
    return total / np.sqrt(power)


def ramp(value: Canvas, colour: Colour, contrast: float) -> Canvas:
    """(h, w, 3): `colour` brightened and darkened by `value` (h, w) times `contrast` (share of the colour)."""
    return np.float32(1) * np.array(colour, dtype=np.float32) * (1 + np.float32(contrast) * value[..., None])


def vignette(canvas: Canvas, depth: float = 0.35, reach: float = 0.12) -> Canvas:
    """Darken towards the borders, as the corners of a room are; `reach` is a share of the shorter side."""
    height, width = canvas.shape[:2]
    far = reach * min(height, width)
    y, x = (np.minimum(np.arange(n), np.arange(n)[::-1]).astype(np.float32) for n in (height, width))
    shade = (1 - depth * np.exp(-y / far))[:, None] * (1 - depth * np.exp(-x / far))[None, :]
    return canvas * shade[..., None].astype(np.float32)


def framed(picture: Canvas, size: tuple[int, int], colour: Colour, border: float = 0.07) -> Canvas:
    """A picture stretched to `size` (h, w) with a frame and a pale mat around it."""
    height, width = size
    edge = round(border * min(size))
    canvas = np.empty((height, width, 3), dtype=np.float32)
    canvas[:] = colour
    mat = edge // 2
    canvas[mat:-mat, mat:-mat] = (232, 228, 216)
    inner = (width - 2 * edge, height - 2 * edge)
    canvas[edge:-edge, edge:-edge] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return canvas


def letter(canvas: Canvas, word: str, box: tuple[float, float, float, float], colour: Colour) -> None:
    """Write `word` into the box (top, left, bottom, right; shares of the canvas), as large as fits."""
    height, width = canvas.shape[:2]
    top, left, bottom, right = (
        round(box[0] * height),
        round(box[1] * width),
        round(box[2] * height),
        round(box[3] * width),
    )
    mask = np.zeros((60, 40 * len(word) + 20), dtype=np.uint8)  # OpenCV 5 writes on 8-bit pictures only
    cv2.putText(mask, word, (5, 48), cv2.FONT_HERSHEY_DUPLEX, 1.6, 255, 3, cv2.LINE_AA)
    used = np.flatnonzero(mask.any(axis=0))
    mask = mask[:, used[0] : used[-1] + 1]
    share = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA)[..., None] / np.float32(255)
    part = canvas[top:bottom, left:right]
    part[:] = part * (1 - share) + share * np.array(colour, dtype=np.float32)
