"""Where the parallelograms of a world lie on the screen: the exact maths that both renderers share.

A point of a parallelogram is A + s·U + t·V in camera coordinates, and the ray of pixel p is K⁻¹p, so that
z·K⁻¹p = [U V A]·(s, t, 1) and (s/z, t/z, 1/z) = [U V A]⁻¹K⁻¹·p: three functions **linear in the pixel**. A pixel is
inside where 0 ≤ s/z ≤ 1/z and 0 ≤ t/z ≤ 1/z, the nearest surface has the largest 1/z, and z is exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics, invert_rigid
from wmkit.worlds.scene import World

__all__ = ["NEAR_M", "QuadTable", "ScreenQuads", "project", "quad_table", "quad_tables"]

NEAR_M = 0.02  # nothing nearer is drawn; cameras of worlds keep further away from every surface than this


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuadTable:
    """The quads of a world as arrays.

    corner, edge_u, edge_v  (Q, 3) float64 metres.
    texture  (Q,) int32.
    uv       (Q, 4) float64: u0, v0 and the spans u1 - u0, v1 - v0.
    gain     (Q, 3) float32.
    two_sided  (Q,) bool.
    """

    corner: Array
    edge_u: Array
    edge_v: Array
    texture: NDArray[np.int32]
    uv: Array
    gain: NDArray[np.float32]
    two_sided: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScreenQuads:
    """The quads that may be on screen, for one camera.

    index  (V,) int64: which of the world's quads.
    plane  (V, 3, 3) float64: rows are s/z, t/z, 1/z as functions of (x, y, 1) px.
    bounds (V, 4) int64: half-open pixel box x0, y0, x1, y1 that contains every pixel centre inside, ± half a pixel.
    """

    index: NDArray[np.int64]
    plane: Array
    bounds: NDArray[np.int64]


def quad_table(world: World) -> QuadTable:
    """The world's quads, column by column."""
    quads = world.quads
    uv = np.array([quad.uv for quad in quads], dtype=np.float64)
    return QuadTable(
        corner=np.array([quad.corner for quad in quads], dtype=np.float64),
        edge_u=np.array([quad.edge_u for quad in quads], dtype=np.float64),
        edge_v=np.array([quad.edge_v for quad in quads], dtype=np.float64),
        texture=np.array([quad.texture for quad in quads], dtype=np.int32),
        uv=np.concatenate([uv[:, :2], uv[:, 2:] - uv[:, :2]], axis=1),
        gain=np.array([quad.gain for quad in quads], dtype=np.float32),
        two_sided=np.array([quad.two_sided for quad in quads], dtype=np.bool_),
    )


def quad_tables(world: World, frames: int, shift: Array | None) -> Iterator[QuadTable]:
    """The table of every frame; `shift` (frames, Q, 3) metres moves the quads of each, None leaves them all."""
    table = quad_table(world)
    for frame in range(frames):
        yield table if shift is None else replace(table, corner=table.corner + shift[frame])


def project(table: QuadTable, intrinsics: Intrinsics, world_from_cam: Array) -> ScreenQuads:
    """Project every quad into one camera (4, 4) and drop those behind it, off screen or seen exactly edge-on."""
    cam_from_world = invert_rigid(np.asarray(world_from_cam, dtype=np.float64))
    rotation = cam_from_world[:3, :3]
    corner = table.corner @ rotation.T + cam_from_world[:3, 3]
    edge_u, edge_v = table.edge_u @ rotation.T, table.edge_v @ rotation.T
    polygons = np.stack([corner, corner + edge_u, corner + edge_u + edge_v, corner + edge_v], axis=1)
    bounds = _bounds(polygons, intrinsics)
    basis = np.stack([edge_u, edge_v, corner], axis=2)
    # The determinant is the area times the distance to the plane; below this a quad is thinner than any pixel.
    side = np.linalg.det(basis) / np.linalg.norm(np.cross(edge_u, edge_v), axis=1)
    facing = np.where(table.two_sided, np.abs(side), side) > 1e-7
    keep = np.flatnonzero(facing & (bounds[:, 0] < bounds[:, 2]) & (bounds[:, 1] < bounds[:, 3]))
    plane = np.linalg.inv(basis[keep]) @ np.linalg.inv(intrinsics.matrix)
    return ScreenQuads(index=keep, plane=plane, bounds=bounds[keep])


def _bounds(polygons: Array, intrinsics: Intrinsics) -> NDArray[np.int64]:
    """Pixel boxes (Q, 4) of polygons (Q, 4, 3) in camera coordinates, clipped at the near plane; empty if unseen."""
    z = polygons[:, :, 2]
    crossing = (z.min(axis=1) < NEAR_M) & (z.max(axis=1) > NEAR_M)
    box = _pixel_box(np.where(z[:, :, None] >= NEAR_M, polygons, 1.0), intrinsics)
    box[z.max(axis=1) <= NEAR_M] = 0
    for index in np.flatnonzero(crossing):
        box[index] = _pixel_box(_clipped(polygons[index])[None], intrinsics)[0]
    return box


def _clipped(polygon: Array) -> Array:
    """The part of a polygon (4, 3) beyond the near plane (Sutherland and Hodgman 1974), corners in no special order."""
    following = np.roll(polygon, -1, axis=0)
    here, there = polygon[:, 2], following[:, 2]
    cut = (here < NEAR_M) != (there < NEAR_M)
    share = (NEAR_M - here[cut]) / (there[cut] - here[cut])
    return np.concatenate([polygon[here >= NEAR_M], polygon[cut] + share[:, None] * (following[cut] - polygon[cut])])


def _pixel_box(polygons: Array, intrinsics: Intrinsics) -> NDArray[np.int64]:
    x = intrinsics.fx * polygons[:, :, 0] / polygons[:, :, 2] + intrinsics.cx
    y = intrinsics.fy * polygons[:, :, 1] / polygons[:, :, 2] + intrinsics.cy
    # One pixel more on each side, so that the sub-samples of edge pixels are covered too.
    low = np.floor(np.stack([x.min(axis=1), y.min(axis=1)], axis=1)) - 1
    high = np.ceil(np.stack([x.max(axis=1), y.max(axis=1)], axis=1)) + 1
    limit = np.array([intrinsics.width, intrinsics.height, intrinsics.width, intrinsics.height], dtype=np.float64)
    return np.clip(np.concatenate([low, high], axis=1), 0, limit).astype(np.int64)
