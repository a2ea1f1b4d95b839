"""The numpy renderer: exact z-buffer by linear functions of the pixel, then one filtered texture lookup a pixel.

Visibility and depth are float64 and exact. Colour is sampled at the pixel's centre with trilinear mip-mapping and up
to eight taps along the footprint's long axis (the scheme of GPU anisotropic filtering), because aliased textures
swim and would spoil point tracks. Pixels where two surfaces meet are the mean of four samples instead.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics
from wmkit.worlds.mipmap import TexturePool, pack_textures
from wmkit.worlds.projection import QuadTable, ScreenQuads, project, quad_table
from wmkit.worlds.scene import World

__all__ = ["SUBSAMPLES", "TAP_RATIO", "render_numpy"]

SUBSAMPLES = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))
TAP_RATIO = 1.5  # one tap serves a footprint up to this much longer than wide; doubled for every doubling of taps
MAX_TAPS = 8


def render_numpy(
    world: World, intrinsics: tuple[Intrinsics, ...], world_from_cam: Array
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield (rgb (h, w, 3) uint8, z (h, w) float32 metres, 0 where nothing is hit) for every camera."""
    table, pool = quad_table(world), pack_textures(world.textures)
    for camera, pose in zip(intrinsics, world_from_cam, strict=True):
        screen = project(table, camera, pose)
        hit, inverse_z = _visible(screen, camera)
        z = np.zeros(hit.shape, dtype=np.float32)
        np.divide(1.0, inverse_z, out=z, where=hit >= 0, casting="same_kind")
        yield _colour(screen, table, pool, hit), z


def _visible(screen: ScreenQuads, camera: Intrinsics) -> tuple[NDArray[np.int16], Array]:
    """Nearest quad (h, w), as a position in `screen` or -1, at every pixel centre, and its 1/z."""
    hit = np.full((camera.height, camera.width), -1, dtype=np.int16)
    nearest = np.zeros((camera.height, camera.width))
    columns, rows = np.arange(camera.width) + 0.5, (np.arange(camera.height) + 0.5)[:, None]
    for position, (plane, (x0, y0, x1, y1)) in enumerate(zip(screen.plane, screen.bounds, strict=True)):
        x, y = columns[x0:x1], rows[y0:y1]
        s, t, w = (row[0] * x + (row[1] * y + row[2]) for row in plane)
        depth = nearest[y0:y1, x0:x1]
        inside = (w > depth) & (s >= 0) & (s <= w) & (t >= 0) & (t <= w)
        np.copyto(depth, w, where=inside)
        np.copyto(hit[y0:y1, x0:x1], position, where=inside)
    return hit, nearest


def _visible_at(screen: ScreenQuads, x: Array, y: Array) -> NDArray[np.int16]:
    """Nearest quad at sample positions (P, S) px whose first axis is the pixel; -1 where none."""
    hit = np.full(x.shape, -1, dtype=np.int16)
    nearest = np.zeros(x.shape)
    column, row = x[:, 0], y[:, 0]
    for position, (plane, (x0, y0, x1, y1)) in enumerate(zip(screen.plane, screen.bounds, strict=True)):
        near = np.flatnonzero((column >= x0) & (column < x1) & (row >= y0) & (row < y1))
        if len(near) == 0:
            continue
        s, t, w = (line[0] * x[near] + (line[1] * y[near] + line[2]) for line in plane)
        inside = (w > nearest[near]) & (s >= 0) & (s <= w) & (t >= 0) & (t <= w)
        nearest[near] = np.where(inside, w, nearest[near])
        hit[near] = np.where(inside, position, hit[near])
    return hit


def _edges(hit: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Pixels (h, w) whose surface differs from a neighbour's, in four directions."""
    edge = np.zeros(hit.shape, dtype=np.bool_)
    across, down = hit[:, 1:] != hit[:, :-1], hit[1:] != hit[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def _colour(screen: ScreenQuads, table: QuadTable, pool: TexturePool, hit: NDArray[np.int16]) -> NDArray[np.uint8]:
    height, width = hit.shape
    edge = _edges(hit)
    rows, columns = np.nonzero(~edge)
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    flat = _shade(screen, table, pool, (hit[rows, columns], columns + 0.5, rows + 0.5))
    rgb[rows, columns] = np.floor(flat + 0.5)
    rows, columns = np.nonzero(edge)
    offset = np.array(SUBSAMPLES)
    x, y = columns[:, None] + 0.5 + offset[:, 0], rows[:, None] + 0.5 + offset[:, 1]
    seen = _visible_at(screen, x, y)
    samples = _shade(screen, table, pool, (seen.ravel(), x.ravel(), y.ravel()))
    rgb[rows, columns] = np.floor(samples.reshape(-1, len(SUBSAMPLES), 3).mean(axis=1) + 0.5)
    return rgb


def _shade(
    screen: ScreenQuads, table: QuadTable, pool: TexturePool, samples: tuple[NDArray[np.int16], Array, Array]
) -> NDArray[np.float32]:
    """Colours (n, 3) in [0, 255] of samples (quad position in `screen`, x px, y px); black where no quad is hit."""
    hit, x, y = samples
    plane = screen.plane.reshape(-1, 9).T  # columns are gathered one by one: contiguous, and much the fastest
    quad = screen.index
    texture = table.texture[quad]
    u_scale, v_scale = table.uv[quad, 2] * pool.width[texture, 0], table.uv[quad, 3] * pool.height[texture, 0]
    u_start, v_start = table.uv[quad, 0] * pool.width[texture, 0], table.uv[quad, 1] * pool.height[texture, 0]
    sx, sy, s1, tx, ty, t1, wx, wy, w1 = (column[hit] for column in plane)
    inverse_w = 1.0 / (wx * x + wy * y + w1)
    s, t = (sx * x + sy * y + s1) * inverse_w, (tx * x + ty * y + t1) * inverse_w
    u_gain, v_gain = u_scale[hit], v_scale[hit]
    # The footprint: how far (u, v) moves, in texels, for one pixel along x and one along y.
    u_size, v_size = u_gain * inverse_w, v_gain * inverse_w
    along_x = (sx - s * wx) * u_size, (tx - t * wx) * v_size
    along_y = (sy - s * wy) * u_size, (ty - t * wy) * v_size
    u, v = u_start[hit] + s * u_gain, v_start[hit] + t * v_gain
    colour = _filtered(pool, texture[hit], (u, v), (along_x, along_y)) * table.gain[quad][hit]
    np.clip(colour, 0, 255, out=colour)
    colour[hit < 0] = 0
    return colour


def _filtered(
    pool: TexturePool, texture: NDArray[np.int32], uv: tuple[Array, Array], footprint: tuple[tuple[Array, Array], ...]
) -> NDArray[np.float32]:
    """Anisotropic lookup (n, 3): taps along the footprint's longer screen axis, each trilinear."""
    (ux, vx), (uy, vy) = footprint
    x_longer = ux * ux + vx * vx >= uy * uy + vy * vy
    long_u, long_v = np.where(x_longer, ux, uy), np.where(x_longer, vx, vy)
    major = np.sqrt(long_u * long_u + long_v * long_v) + 1e-12
    minor = np.abs(ux * vy - uy * vx) / major
    ratio = major / (minor + 1e-12)
    taps = np.select([ratio <= TAP_RATIO * n for n in (1, 2, 4)], [1, 2, 4], MAX_TAPS)
    level = np.log2(np.maximum(np.maximum(major / taps, minor), 1e-6)).astype(np.float32)
    level = np.clip(level, 0, (pool.levels[texture] - 1).astype(np.float32))
    colour = np.empty((len(texture), 3), dtype=np.float32)
    for count in (1, 2, 4, MAX_TAPS):
        chosen = np.flatnonzero(taps == count)
        if len(chosen) == 0:
            continue
        total = np.zeros((len(chosen), 3), dtype=np.float32)
        for tap in range(count):
            shift = (tap + 0.5) / count - 0.5
            u = (uv[0][chosen] + shift * long_u[chosen]).astype(np.float32)
            v = (uv[1][chosen] + shift * long_v[chosen]).astype(np.float32)
            total += _trilinear(pool, texture[chosen], (u, v), level[chosen])
        colour[chosen] = total / np.float32(count)
    return colour


def _trilinear(
    pool: TexturePool,
    texture: NDArray[np.int32],
    uv: tuple[NDArray[np.float32], NDArray[np.float32]],
    level: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Blend of the two mip levels next to `level`, each bilinear; (n, 3) float32."""
    lower = level.astype(np.int32)
    blend = level - lower
    colour = _bilinear(pool, texture, uv, lower) * (1 - blend)[:, None]
    between = np.flatnonzero(blend > 0)
    upper = _bilinear(pool, texture[between], (uv[0][between], uv[1][between]), lower[between] + 1)
    colour[between] += upper * blend[between, None]
    return colour


def _bilinear(
    pool: TexturePool,
    texture: NDArray[np.int32],
    uv: tuple[NDArray[np.float32], NDArray[np.float32]],
    level: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Four-texel blend in one mip level, clamped at the texture's border; u, v in texels of level 0."""
    entry = texture * pool.offset.shape[1] + level
    width, height = pool.width.ravel()[entry], pool.height.ravel()[entry]
    scale = np.ldexp(np.float32(1), -level)
    x = np.clip(uv[0] * scale - np.float32(0.5), 0, width - 1).astype(np.float32)
    y = np.clip(uv[1] * scale - np.float32(0.5), 0, height - 1).astype(np.float32)
    x0, y0 = x.astype(np.int32), y.astype(np.int32)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    step_x, step_y = (x0 < width - 1).astype(np.int32), (y0 < height - 1) * width
    first = pool.offset.ravel()[entry] + y0 * width + x0

    def fetch(index: NDArray[np.int32]) -> NDArray[np.float32]:
        return pool.texel[index].view(np.uint8).reshape(-1, 4)[:, :3].astype(np.float32)

    top = fetch(first)
    top += (fetch(first + step_x) - top) * fx
    bottom = fetch(first + step_y)
    bottom += (fetch(first + step_y + step_x) - bottom) * fx
    top += (bottom - top) * fy
    return top
