"""What a synthetic world is made of: textures, textured parallelograms, and boxes built of them. numpy only.

World axes as in `wmkit.camera_paths`: metres, x right, y down, z forward; the ground of every world is y = 0, so a
camera `h` metres above it has y = -h.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, frozen_array
from wmkit.errors import InputError

__all__ = ["MAX_LEVELS", "Faces", "Quad", "Texture", "World", "box", "shade", "upright"]

MAX_LEVELS = 12  # mip levels of a 2048 px texture; also the width of the renderers' level tables
Vec3 = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texture:
    """One picture: `rgb` (h, w, 3) uint8, both sides a power of two up to 2048 px so that mip levels nest exactly."""

    rgb: NDArray[np.uint8]

    def __post_init__(self) -> None:
        rgb = frozen_array(self.rgb, np.uint8, (None, None, 3), "texture rgb")
        if any(side < 1 or side & (side - 1) or side > 1 << (MAX_LEVELS - 1) for side in rgb.shape[:2]):
            raise InputError(f"texture: expected sides that are powers of two up to 2048 px, got {rgb.shape[:2]}")
        object.__setattr__(self, "rgb", rgb)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quad:
    """A parallelogram: corner + s * edge_u + t * edge_v for s, t in [0, 1].

    corner, edge_u, edge_v  metres, world axes.
    texture                 index into the world's textures.
    uv                      (u0, v0, u1, v1): the texture's part that s, t in [0, 1] span, in [0, 1]; u0 > u1 mirrors.
    gain                    (r, g, b) factor on the texture's colours: light and tint. Results above 255 are clipped.
    two_sided               false hides it from where edge_v would not be a turn to the right of edge_u: the inside of
                            a box, half of all quads, need not be drawn.
    """

    corner: Vec3
    edge_u: Vec3
    edge_v: Vec3
    texture: int
    uv: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    gain: Vec3 = (1.0, 1.0, 1.0)
    two_sided: bool = True

    def __post_init__(self) -> None:
        if not np.isfinite([self.corner, self.edge_u, self.edge_v, self.gain]).all():
            raise InputError("quad: expected finite corner, edges and gain")
        if np.linalg.norm(np.cross(self.edge_u, self.edge_v)) <= 1e-9:
            raise InputError(f"quad: expected edges that span an area, got {self.edge_u} and {self.edge_v}")
        if min(self.uv) < 0 or max(self.uv) > 1:
            raise InputError(f"quad uv: expected values in [0, 1], got {self.uv}")

    @property
    def corners(self) -> Array:
        """(4, 3) metres, in order round the parallelogram."""
        a, u, v = (np.array(x, dtype=np.float64) for x in (self.corner, self.edge_u, self.edge_v))
        return np.stack([a, a + u, a + u + v, a + v])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """A closed set of textured parallelograms: wherever a camera stands inside, every pixel sees one.

    name      for people.
    quads     the geometry.
    textures  what `Quad.texture` indexes.
    """

    name: str
    quads: tuple[Quad, ...]
    textures: tuple[Texture, ...]

    def __post_init__(self) -> None:
        if not self.quads:
            raise InputError(f"world {self.name}: expected at least one quad, got none")
        last = max(quad.texture for quad in self.quads)
        if last >= len(self.textures) or min(quad.texture for quad in self.quads) < 0:
            raise InputError(f"world {self.name}: expected texture indices below {len(self.textures)}, got {last}")


def shade(normal: Array) -> float:
    """Brightness of a face by its direction: a fixed soft light from above, left and behind; in [0.62, 1]."""
    light = np.array([-0.35, -0.8, -0.5])
    return 0.81 + 0.19 * float(np.dot(normal, light) / np.linalg.norm(normal) / np.linalg.norm(light))


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """Textures of a box: four `side` faces (one index, or front, right, back, left), the `top`, and a shared tint."""

    side: int | tuple[int, int, int, int]
    top: int
    tint: Vec3 = (1.0, 1.0, 1.0)


def upright(
    start: tuple[float, float],
    end: tuple[float, float],
    span_m: tuple[float, float],
    texture: int,
    tint: Vec3 = (1, 1, 1),
) -> Quad:
    """An upright wall from `start` to `end` (x, z), from `span_m[0]` to `span_m[1]` metres above the ground.

    Seen with `start` on the left, the texture is the right way round and faces the viewer.
    """
    low, high = span_m
    edge_u = (end[0] - start[0], 0.0, end[1] - start[1])
    normal = np.array([edge_u[2], 0.0, -edge_u[0]])
    light = shade(normal)
    return Quad(
        corner=(start[0], -high, start[1]),
        edge_u=edge_u,
        edge_v=(0.0, high - low, 0.0),
        texture=texture,
        gain=(tint[0] * light, tint[1] * light, tint[2] * light),
    )


def box(centre: Vec3, size: Vec3, faces: Faces, heading_deg: float = 0.0) -> tuple[Quad, ...]:
    """Four sides and a top of a box; `centre` is the middle of its footprint (x, height above ground, z) in metres,
    `size` is (width along x, height, depth along z) before it is turned right by `heading_deg`. It has no underside.
    """
    cos, sin = float(np.cos(np.radians(heading_deg))), float(np.sin(np.radians(heading_deg)))
    half_x, half_z = size[0] / 2, size[2] / 2

    def corner(x: float, z: float) -> tuple[float, float]:
        return centre[0] + cos * x + sin * z, centre[2] - sin * x + cos * z

    ring = [corner(-half_x, -half_z), corner(half_x, -half_z), corner(half_x, half_z), corner(-half_x, half_z)]
    sides = faces.side if isinstance(faces.side, tuple) else (faces.side,) * 4
    span_m = (centre[1], centre[1] + size[1])
    quads = [
        replace(upright(ring[i], ring[(i + 1) % 4], span_m, sides[i], faces.tint), two_sided=False) for i in range(4)
    ]
    light = shade(np.array([0.0, -1.0, 0.0]))
    (x0, z0), (x1, z1), (x3, z3) = ring[3], ring[2], ring[0]
    top = Quad(
        corner=(x0, -span_m[1], z0),
        edge_u=(x1 - x0, 0.0, z1 - z0),
        edge_v=(x3 - x0, 0.0, z3 - z0),
        texture=faces.top,
        two_sided=False,
        gain=(faces.tint[0] * light, faces.tint[1] * light, faces.tint[2] * light),
    )
    return (*quads, top)
