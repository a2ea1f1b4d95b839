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
from wmkit.worlds.projection import QuadTable, ScreenQuads, project, quad_tables
from wmkit.worlds.scene import MAX_LEVELS, World

__all__ = ["SUBSAMPLES", "TAP_RATIO", "render_numpy"]

SUBSAMPLES = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))
TAP_RATIO = 1.5  # one tap serves a footprint up to this much longer than wide; doubled for every doubling of taps
MAX_TAPS = 8
BLOCK = 16384
Single = NDArray[np.float32]


def render_numpy(
    world: World, intrinsics: tuple[Intrinsics, ...], world_from_cam: Array, shift: Array | None = None
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield (rgb (h, w, 3) uint8, z (h, w) float32 metres, 0 where nothing is hit) for every camera."""
    tables, pool = quad_tables(world, len(world_from_cam), shift), pack_textures(world.textures)
    for camera, pose, table in zip(intrinsics, world_from_cam, tables, strict=True):
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


def _visible_at(
    screen: ScreenQuads, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int16], Array, Array]:
    """Nearest quad at the sub-samples of pixels (P,), sorted by row: hit, -1 where none, x px, y px; each (4, P)."""
    offset = np.array(SUBSAMPLES)[:, :, None]
    x = np.asarray(columns + 0.5 + offset[:, 0], dtype=np.float64)
    y = np.asarray(rows + 0.5 + offset[:, 1], dtype=np.float64)
    hit: NDArray[np.int16] = np.full(x.shape, -1, dtype=np.int16)
    nearest = np.zeros(x.shape)
    ranges = np.searchsorted(rows, screen.bounds[:, 1::2])
    for position, (plane, box, (start, end)) in enumerate(zip(screen.plane, screen.bounds, ranges, strict=True)):
        near = start + np.flatnonzero((columns[start:end] >= box[0]) & (columns[start:end] < box[2]))
        if len(near) == 0:
            continue
        at_x, at_y = x[:, near], y[:, near]
        s, t, w = (line[0] * at_x + (line[1] * at_y + line[2]) for line in plane)
        inside = (w > nearest[:, near]) & (s >= 0) & (s <= w) & (t >= 0) & (t <= w)
        sample, which = np.nonzero(inside)
        nearest[sample, near[which]] = w[sample, which]
        hit[sample, near[which]] = position
    return hit, x, y


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
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    rows, columns = np.nonzero(~edge)
    for part in _blocks(len(rows)):
        row, column = rows[part], columns[part]
        flat = _shade(
            screen, table, pool, (hit[row, column], column.astype(np.float64) + 0.5, row.astype(np.float64) + 0.5)
        )
        rgb[row, column] = (flat + np.float32(0.5)).astype(np.uint8).T
    rows, columns = np.nonzero(edge)
    seen, x, y = _visible_at(screen, rows, columns)
    for part in _blocks(len(rows)):
        samples = _shade(screen, table, pool, (seen[:, part].ravel(), x[:, part].ravel(), y[:, part].ravel()))
        mean = samples.reshape(3, len(SUBSAMPLES), -1).mean(axis=1)
        rgb[rows[part], columns[part]] = (mean + np.float32(0.5)).astype(np.uint8).T
    return rgb


def _blocks(count: int) -> Iterator[slice]:
    """Runs of BLOCK samples: what fits the processor's cache is shaded about twice as fast."""
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


def _shade(
    screen: ScreenQuads, table: QuadTable, pool: TexturePool, samples: tuple[NDArray[np.int16], Array, Array]
) -> NDArray[np.float32]:
    """Colours (3, n) in [0, 255] of samples (quad position in `screen`, x px, y px); black where no quad is hit."""
    hit, x, y = samples
    if (hit < 0).any():
        colour = np.zeros((3, len(hit)), dtype=np.float32)
        some = np.flatnonzero(hit >= 0)
        colour[:, some] = _shade(screen, table, pool, (hit[some], x[some], y[some]))
        return colour
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
    along_x = _single((sx - s * wx) * u_size), _single((tx - t * wx) * v_size)
    along_y = _single((sy - s * wy) * u_size), _single((ty - t * wy) * v_size)
    uv = _single(u_start[hit] + s * u_gain), _single(v_start[hit] + t * v_gain)
    colour = _filtered(pool, texture[hit], uv, (along_x, along_y))
    colour *= table.gain[quad].T[:, hit]
    np.clip(colour, 0, 255, out=colour)
    return colour


def _single(values: Array) -> Single:
    return values.astype(np.float32)


def _filtered(
    pool: TexturePool,
    texture: NDArray[np.int32],
    uv: tuple[Single, Single],
    footprint: tuple[tuple[Single, Single], ...],
) -> Single:
    """Anisotropic lookup (3, n): taps along the footprint's longer screen axis, each trilinear."""
    (ux, vx), (uy, vy) = footprint
    x_longer = ux * ux + vx * vx >= uy * uy + vy * vy
    long_u, long_v = np.where(x_longer, ux, uy), np.where(x_longer, vx, vy)
    tiny = np.float32(1e-12)
    major = np.sqrt(long_u * long_u + long_v * long_v) + tiny
    minor = np.abs(ux * vy - uy * vx) / major
    ratio = major / (minor + tiny)
    taps = np.select([ratio <= TAP_RATIO * n for n in (1, 2, 4)], [1, 2, 4], MAX_TAPS).astype(np.float32)
    level = np.log2(np.maximum(np.maximum(major / taps, minor), np.float32(1e-6)))
    level = np.clip(level, 0, (pool.levels[texture] - 1).astype(np.float32))
    colour = np.empty((3, len(texture)), dtype=np.float32)
    for count in (1, 2, 4, MAX_TAPS):
        chosen = np.flatnonzero(taps == count)
        if len(chosen) == 0:
            continue
        total = np.zeros((3, len(chosen)), dtype=np.float32)
        u, v, du, dv = (values[chosen] for values in (*uv, long_u, long_v))
        for tap in range(count):
            shift = np.float32((tap + 0.5) / count - 0.5)
            total += _trilinear(pool, texture[chosen], (u + shift * du, v + shift * dv), level[chosen])
        colour[:, chosen] = total / np.float32(count)
    return colour


def _trilinear(pool: TexturePool, texture: NDArray[np.int32], uv: tuple[Single, Single], level: Single) -> Single:
    """Blend of the two mip levels next to `level`, each bilinear; (3, n)."""
    lower = level.astype(np.int32)
    blend = level - lower.astype(np.float32)
    colour = _bilinear(pool, texture, uv, lower)
    between = np.flatnonzero(blend)
    upper = _bilinear(pool, texture[between], (uv[0][between], uv[1][between]), lower[between] + 1)
    if len(between) == len(blend):
        upper -= colour
        upper *= blend
        colour += upper
    else:
        colour[:, between] += (upper - colour[:, between]) * blend[between]
    return colour


def _bilinear(
    pool: TexturePool, texture: NDArray[np.int32], uv: tuple[Single, Single], level: NDArray[np.int32]
) -> Single:
    """Four-texel blend in one mip level (3, n), clamped at the texture's border; u, v in texels of level 0."""
    entry = texture * MAX_LEVELS + level
    width, height = pool.width.ravel()[entry], pool.height.ravel()[entry]
    scale = np.ldexp(np.float32(1), -level)
    half = np.float32(0.5)
    x = np.clip(uv[0] * scale - half, 0, (width - 1).astype(np.float32))
    y = np.clip(uv[1] * scale - half, 0, (height - 1).astype(np.float32))
    x0, y0 = x.astype(np.int32), y.astype(np.int32)
    x -= x0.astype(np.float32)
    y -= y0.astype(np.float32)
    right, below = (x0 < width - 1).astype(np.int32), (y0 < height - 1) * width
    first = pool.offset.ravel()[entry] + y0 * width + x0
    top = _fetch(pool, first)
    top += (_fetch(pool, first + right) - top) * x
    first += below
    bottom = _fetch(pool, first)
    bottom += (_fetch(pool, first + right) - bottom) * x
    bottom -= top
    bottom *= y
    top += bottom
    return top


def _fetch(pool: TexturePool, index: NDArray[np.int32]) -> Single:
    """Texels as (3, n) float32."""
    packed = pool.texel[index]
    colour = np.empty((3, len(index)), dtype=np.float32)
    colour[0] = packed & 255
    colour[1] = (packed >> 8) & 255
    colour[2] = packed >> 16
    return colour
