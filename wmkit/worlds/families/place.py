"""Random surroundings built round a camera path: a closed room or yard with boxes, clear of every camera position.

Textures are photographs, each quad showing its own random part of one at a random size, and plain smooth surfaces that
nothing can be tracked on.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.worlds.paint import noise, ramp, texture
from wmkit.worlds.photos import load_photo
from wmkit.worlds.scene import Faces, Quad, Texture, World, box, upright

__all__ = ["Place", "draw_place"]

Rng = np.random.Generator
PHOTO_NAMES = (
    "brick.png",
    "gravel.png",
    "grass.png",
    "motorcycle_left.png",
    "ihc.png",
    "coffee.png",
    "astronaut.png",
    "chelsea.png",
    "rocket.jpg",
)
PHOTO_SIDE_PX = 512
PLAIN_TEXTURES = 3
TRIES = 40
SEAM_M = 0.001  # neighbours overlap by this much: no pixel looks through a crack between two that only touch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A world round a path.

    world   its ground is y = 0; the first `movers` boxes of it are free to move.
    mover   (Q,) int64: which mover a quad belongs to, -1 for what stands still.
    height_m  of the path's origin above the ground.
    """

    world: World
    mover: NDArray[np.int64]
    height_m: float


@dataclass(slots=True)
class _Skins:
    """Textures of one world and the generator that draws from them."""

    rng: Rng
    plain_share: float
    textures: list[Texture]

    def pick(self, size_m: tuple[float, float]) -> tuple[int, tuple[float, float, float, float]]:
        """A texture and the part of it (u0, v0, u1, v1) for a quad of `size_m` (width, height)."""
        if self.rng.random() < self.plain_share:
            return len(self.textures) - 1 - int(self.rng.integers(PLAIN_TEXTURES)), (0.0, 0.0, 1.0, 1.0)
        photos = len(self.textures) - PLAIN_TEXTURES
        across_m = float(np.exp(self.rng.uniform(np.log(1.0), np.log(4.0))))  # what the whole photo would span
        spans = [min(1.0, max(0.1, length / across_m)) for length in size_m]
        u, v = (float(self.rng.uniform(0, 1 - span)) for span in spans)
        part = (u, v, u + spans[0], v + spans[1])
        if self.rng.random() < 0.5:
            part = (part[2], part[1], part[0], part[3])
        return int(self.rng.integers(photos)), part


@functools.cache
def _photo(name: str) -> Texture:
    rgb = cv2.resize(load_photo(name), (PHOTO_SIDE_PX, PHOTO_SIDE_PX), interpolation=cv2.INTER_AREA)
    return Texture(rgb=np.asarray(rgb, dtype=np.uint8))


def draw_place(rng: Rng, world_from_cam: Array, *, plain_share: float, movers: int) -> Place:
    """Build a place round the cameras (N, 4, 4), whose path starts at height 0; `plain_share` of it has no texture.

    Its walls are 1.5 to 6 m beyond the path, in one draw of four 5 to 20 m (a yard). `movers` boxes stand near what the
    cameras look at; they are the world's first quads.
    """
    names = rng.permutation(len(PHOTO_NAMES))[: int(rng.integers(4, 8))]
    textures = [_photo(PHOTO_NAMES[index]) for index in names.tolist()]
    textures += [_plain(rng) for _ in range(PLAIN_TEXTURES)]
    skins = _Skins(rng=rng, plain_share=plain_share, textures=textures)
    height_m = float(rng.uniform(1.1, 1.8)) + max(0.0, float(world_from_cam[:, 1, 3].max()))
    position = world_from_cam[:, :3, 3] - np.array([0.0, height_m, 0.0])
    outdoors = rng.random() < 0.25
    moving: list[Quad] = []
    owner: list[int] = []
    for index in range(movers):
        quads = _box_in_view(skins, position, world_from_cam[:, :3, :3], grow=1.6)
        moving += quads
        owner += [index] * len(quads)
    still = _shell(skins, position, outdoors)
    for index in range(int(rng.integers(6, 15))):
        still += _box_in_view(skins, position, world_from_cam[:, :3, :3], grow=1.0 if index % 3 else 1.6)
    world = World(name="family", quads=(*moving, *still), textures=tuple(textures))
    mover = np.array(owner + [-1] * len(still), dtype=np.int64)
    return Place(world=world, mover=mover, height_m=height_m)


def _plain(rng: Rng) -> Texture:
    """A smooth painted surface: a soft gradient of 1 to 6 % and hardly any grain."""
    size = (128, 128)
    value = float(rng.uniform(0.01, 0.06)) * noise(rng, size, (2, 3), 2) + 0.004 * noise(rng, size, (32, 32), 1)
    colour = rng.uniform(90, 220, 3).tolist()
    return texture(ramp(value, (colour[0], colour[1], colour[2]), 1.0))


def _shell(skins: _Skins, position: Array, outdoors: bool) -> list[Quad]:
    """Floor, ceiling and four walls, each cut into panels of their own; closed wherever a camera looks."""
    rng = skins.rng
    reach = (5.0, 20.0) if outdoors else (1.5, 6.0)
    low = position.min(axis=0) - np.exp(rng.uniform(np.log(reach[0]), np.log(reach[1]), 3))
    high = position.max(axis=0) + np.exp(rng.uniform(np.log(reach[0]), np.log(reach[1]), 3))
    top_m = -float(position[:, 1].min()) + float(rng.uniform(4, 12) if outdoors else rng.uniform(0.8, 2.0))
    (x0, x1), (z0, z1) = (float(low[0]), float(high[0])), (float(low[2]), float(high[2]))
    quads: list[Quad] = []
    for start, end in (((x0, z1), (x1, z1)), ((x0, z0), (x0, z1)), ((x1, z1), (x1, z0)), ((x1, z0), (x0, z0))):
        quads += _wall(skins, np.array(start), np.array(end), top_m)
    for y, gain in ((0.0, 1.0), (-top_m, 0.9)):
        quads += _slab(skins, (x0, x1), (z0, z1), y, gain)
    return quads


def _wall(skins: _Skins, start: Array, end: Array, top_m: float) -> list[Quad]:
    length_m = float(np.linalg.norm(end - start))
    count = max(1, round(length_m / float(skins.rng.uniform(1.5, 4.0))))
    quads = []
    for index in range(count):
        seam = (end - start) / length_m * SEAM_M
        a = start + (end - start) * (index / count) - seam
        b = start + (end - start) * ((index + 1) / count) + seam
        skin, part = skins.pick((length_m / count, top_m))
        tint = _tint(skins.rng)
        wall = upright((float(a[0]), float(a[1])), (float(b[0]), float(b[1])), (-SEAM_M, top_m + SEAM_M), skin, tint)
        quads.append(_with_part(wall, part))
    return quads


def _slab(skins: _Skins, x_m: tuple[float, float], z_m: tuple[float, float], y: float, gain: float) -> list[Quad]:
    """The floor or ceiling at height -y in tiles of 2 to 5 m."""
    side_m = float(skins.rng.uniform(2.0, 5.0))
    columns, rows = (max(1, round((b - a) / side_m)) for a, b in (x_m, z_m))
    step_x, step_z = (x_m[1] - x_m[0]) / columns, (z_m[1] - z_m[0]) / rows
    quads = []
    for row in range(rows):
        for column in range(columns):
            skin, part = skins.pick((step_x, step_z))
            red, green, blue = _tint(skins.rng)
            quads.append(
                Quad(
                    corner=(x_m[0] + column * step_x - SEAM_M, y, z_m[1] - row * step_z + SEAM_M),
                    edge_u=(step_x + 2 * SEAM_M, 0.0, 0.0),
                    edge_v=(0.0, 0.0, -step_z - 2 * SEAM_M),
                    texture=skin,
                    uv=part,
                    gain=(red * gain, green * gain, blue * gain),
                )
            )
    return quads


def _box_in_view(skins: _Skins, position: Array, rotation: Array, grow: float) -> list[Quad]:
    """A box at a random place that some camera looks at, clear of the whole path; none after 40 tries."""
    rng = skins.rng
    for _ in range(TRIES):
        frame = int(rng.integers(len(position)))
        heading = float(np.arctan2(rotation[frame, 0, 2], rotation[frame, 2, 2]) + rng.uniform(-0.7, 0.7))
        away_m = float(np.exp(rng.uniform(np.log(0.9), np.log(7.0))))
        x = float(position[frame, 0]) + away_m * float(np.sin(heading))
        z = float(position[frame, 2]) + away_m * float(np.cos(heading))
        width, depth = (grow * rng.uniform(0.25, 0.9, 2)).tolist()
        clear_m = np.hypot(position[:, 0] - x, position[:, 2] - z).min() - np.hypot(width, depth) / 2
        if clear_m < 0.4:
            continue
        tall = float(grow * rng.uniform(0.3, 1.7))
        skin, part = skins.pick((max(width, depth), tall))
        solid = box((x, 0.0, z), (width, tall, depth), Faces(side=skin, top=skin, tint=_tint(rng)), rng.uniform(0, 90))
        return [_with_part(quad, part) for quad in solid]
    return []


def _with_part(quad: Quad, part: tuple[float, float, float, float]) -> Quad:
    return Quad(
        corner=quad.corner,
        edge_u=quad.edge_u,
        edge_v=quad.edge_v,
        texture=quad.texture,
        uv=part,
        gain=quad.gain,
        two_sided=quad.two_sided,
    )


def _tint(rng: Rng) -> tuple[float, float, float]:
    red, green, blue = (float(rng.uniform(0.75, 1.15)) * rng.uniform(0.93, 1.07, 3)).tolist()
    return red, green, blue
