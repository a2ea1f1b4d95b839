"""The OpenGL renderer (EGL, version 4.3, a software driver such as Mesa's llvmpipe will do).

The same steps as `wmkit.worlds.raster`: find the visible parallelogram at every pixel centre and, at twice the
resolution, at the four sub-samples; then shade each pixel from that, once, or four times where surfaces meet. The
shader below is a transcription of `raster._shade` and what it calls; change both together.
"""

import functools
import importlib.resources
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics, invert_rigid
from wmkit.worlds.mipmap import TexturePool, pack_textures
from wmkit.worlds.projection import NEAR_M, QuadTable, ScreenQuads, project, quad_tables
from wmkit.worlds.scene import MAX_LEVELS, World

__all__ = ["gl_problem", "render_gl"]

GL_VERSION = 430  # shader storage buffers
PROBE = (
    f"import moderngl; c = moderngl.create_context(standalone=True, backend='egl', require={GL_VERSION}); c.release()"
)
PROBE_TIMEOUT_S = 60
FLOATS_PER_QUAD = 20
VERTEX_BYTES = 20


@functools.cache
def gl_problem() -> str | None:
    """Why OpenGL cannot be used here, in one line, or None.

    Tried in a child process: a broken driver may end the process that loads it, and the answer cannot change later.
    """
    try:
        probe = subprocess.run(  # the command is a constant
            [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_TIMEOUT_S} s"
    if probe.returncode == 0:
        return None
    lines = probe.stderr.strip().splitlines()
    return lines[-1] if lines else f"a driver that ended the process with status {probe.returncode}"


def render_gl(
    world: World, intrinsics: tuple[Intrinsics, ...], world_from_cam: Array, shift: Array | None = None
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield (rgb (h, w, 3) uint8, z (h, w) float32 metres, 0 where nothing is hit) for every camera."""
    import moderngl

    # moderngl calls the backend's name a dict.
    context = moderngl.create_context(require=GL_VERSION, standalone=True, backend="egl")  # pyright: ignore[reportArgumentType]
    try:
        tables, pool = quad_tables(world, len(world_from_cam), shift), pack_textures(world.textures)
        scene = _upload(context, pool)
        stages: dict[tuple[int, int], _Stage] = {}
        for camera, pose, table in zip(intrinsics, world_from_cam, tables, strict=True):
            size = (camera.width, camera.height)
            if size not in stages:
                stages[size] = _Stage(context, size)
            screen = project(table, camera, pose)
            yield stages[size].draw(table, pool, screen, (camera, pose))
        del scene
    finally:
        context.release()


def _upload(context: Any, pool: TexturePool) -> tuple[Any, Any]:
    """Texels and the level table in storage buffers 0 and 1."""
    texels = context.buffer(pool.texel.tobytes())
    levels = np.stack([pool.offset, pool.width, pool.height, np.zeros_like(pool.offset)], axis=-1).astype(np.int32)
    table = context.buffer(levels.tobytes())
    texels.bind_to_storage_buffer(0)
    table.bind_to_storage_buffer(1)
    return texels, table


class _Stage:
    """Frame buffers and programs of one picture size. moderngl has no types: its objects are `Any` here."""

    def __init__(self, context: Any, size: tuple[int, int]) -> None:
        width, height = size
        self.context, self.size = context, size
        source = importlib.resources.files("wmkit.worlds").joinpath("shaders.glsl").read_text(encoding="utf-8")
        self.find = context.program(vertex_shader=_part(source, "FIND_VERTEX"), fragment_shader=_part(source, "FIND"))
        self.shade = context.program(
            vertex_shader=_part(source, "SHADE_VERTEX"), fragment_shader=_part(source, "SHADE")
        )
        self.shade["max_levels"] = MAX_LEVELS
        self.shade["size"] = size
        self.seen = [context.texture((k * width, k * height), 1, dtype="i4") for k in (1, 2)]
        self.find_buffers = [context.framebuffer([seen], context.depth_renderbuffer(seen.size)) for seen in self.seen]
        self.target = context.framebuffer([context.texture(size, 4, dtype="f1"), context.texture(size, 1, dtype="f4")])
        self.screen_fill = context.vertex_array(self.shade, [])

    def draw(
        self, table: QuadTable, pool: TexturePool, screen: ScreenQuads, camera: tuple[Intrinsics, Array]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        context, (width, height) = self.context, self.size
        quads = context.buffer(_quad_floats(table, pool, screen).tobytes())
        quads.bind_to_storage_buffer(2)
        # A buffer cannot be empty: without quads one degenerate triangle is drawn, which covers nothing.
        vertices = context.buffer(_triangles(table, screen, *camera).tobytes() or bytes(3 * VERTEX_BYTES))
        array = context.vertex_array(self.find, [(vertices, "4f 1i", "in_clip", "in_quad")])
        context.enable_only(context.DEPTH_TEST)
        context.depth_func = ">"
        for buffer, scale in zip(self.find_buffers, (1, 2), strict=True):
            buffer.use()
            buffer.clear(depth=0.0)
            buffer.color_mask = (True, True, True, True)
            self.find["scale"] = scale
            array.render(context.TRIANGLES)
        context.enable_only(context.NOTHING)
        self.target.use()
        for unit, seen in enumerate(self.seen):
            seen.use(unit)
        self.shade["seen"], self.shade["seen_twice"] = 0, 1
        self.screen_fill.render(context.TRIANGLES, vertices=3)
        rgb = np.frombuffer(self.target.read(components=3, attachment=0, alignment=1), dtype=np.uint8)
        z = np.frombuffer(self.target.read(components=1, attachment=1, dtype="f4"), dtype=np.float32)
        for used in (array, vertices, quads):
            used.release()
        # Row 0 of the frame buffer is row 0 of the picture: the projection below does not flip y as usual.
        return rgb.reshape(height, width, 3).copy(), z.reshape(height, width).copy()


def _part(source: str, name: str) -> str:
    """The shader between the line `//// NAME` and the next such line."""
    return source.split(f"//// {name}\n", 1)[1].split("////", 1)[0]


def _quad_floats(table: QuadTable, pool: TexturePool, screen: ScreenQuads) -> NDArray[np.float32]:
    """(V, 20): s/z, t/z, 1/z as functions of the pixel, texture, levels, texel start and span, gain."""
    quad = screen.index
    texture = table.texture[quad]
    floats = np.zeros((max(1, len(quad)), FLOATS_PER_QUAD), dtype=np.float32)
    if len(quad) == 0:
        return floats
    size = np.stack([pool.width[texture, 0], pool.height[texture, 0]], axis=1)
    floats[:, 0:9] = screen.plane.reshape(-1, 9)
    floats[:, 9] = texture
    floats[:, 10] = pool.levels[texture]
    floats[:, 12:14] = table.uv[quad, :2] * size
    floats[:, 14:16] = table.uv[quad, 2:] * size
    floats[:, 16:19] = table.gain[quad]
    return floats


def _triangles(table: QuadTable, screen: ScreenQuads, camera: Intrinsics, world_from_cam: Array) -> NDArray[np.void]:
    """Two triangles a quad: clip coordinates, x and y such that frame buffer rows are picture rows, and its number."""
    quad = screen.index
    a, u, v = table.corner[quad], table.edge_u[quad], table.edge_v[quad]
    corners = np.stack([a, a + u, a + u + v, a, a + u + v, a + v], axis=1).reshape(-1, 3)
    cam_from_world = invert_rigid(world_from_cam)
    x, y, z = (corners @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]).T
    vertices = np.zeros(len(x), dtype=[("clip", np.float32, 4), ("quad", np.int32)])
    vertices["clip"][:, 0] = (2 * camera.fx * x + (2 * camera.cx - camera.width) * z) / camera.width
    vertices["clip"][:, 1] = (2 * camera.fy * y + (2 * camera.cy - camera.height) * z) / camera.height
    vertices["clip"][:, 2] = NEAR_M  # OpenGL cuts away where this exceeds z, the near plane; depth is set by the shader
    vertices["clip"][:, 3] = z
    vertices["quad"] = np.repeat(np.arange(len(quad)), 6)
    return vertices
