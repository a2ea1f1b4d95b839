"""One door to both renderers: exact pictures and exact z-depth of a world."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics
from wmkit.errors import InputError
from wmkit.worlds.scene import World

__all__ = ["RENDERERS", "RenderedFrame", "render", "renderer_used"]

RENDERERS = ("auto", "gl", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderedFrame:
    """One picture of a world.

    rgb       (h, w, 3) uint8.
    z         (h, w) float32: exact z-depth in metres at the pixel's centre; meaningless where not `valid`.
    valid     (h, w) bool: a surface is seen at the pixel's centre. Worlds are closed, so normally all.
    renderer  `gl` or `numpy`: what drew it.
    """

    rgb: NDArray[np.uint8]
    z: NDArray[np.float32]
    valid: NDArray[np.bool_]
    renderer: str


def renderer_used(renderer: str = "auto") -> str:
    """`gl` or `numpy`: what `render` will use. `auto` is `gl` where an EGL context with OpenGL 4.3 can be made.

    Raises InputError for an unknown name, or when `gl` is asked for and cannot work here.
    """
    if renderer not in RENDERERS:
        raise InputError(f"renderer: expected one of {', '.join(RENDERERS)}, got {renderer!r}")
    if renderer == "numpy":
        return renderer
    from wmkit.worlds.gl import gl_problem

    problem = gl_problem()
    if problem is None:
        return "gl"
    if renderer == "gl":
        raise InputError(f"renderer gl: expected a working EGL with OpenGL 4.3, got {problem}; use 'auto' or 'numpy'")
    return "numpy"


def render(
    world: World,
    intrinsics: Intrinsics | tuple[Intrinsics, ...],
    world_from_cam: Array,
    renderer: str = "auto",
    shift: Array | None = None,
) -> Iterator[RenderedFrame]:
    """Draw the world from every camera of `world_from_cam` (N, 4, 4), one frame at a time.

    `intrinsics` is one for all frames or one a frame; its width and height are the picture's. `shift` (N, Q, 3) moves
    every quad of every frame by that many metres: things that move on their own. Both renderers share the
    sampling maths: z differs by float32 rounding, colours by single grey levels but for pixels on a silhouette.

    Raises InputError for a renderer that is unknown or unavailable, or when the numbers of cameras disagree.
    """
    poses = np.asarray(world_from_cam, dtype=np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not np.isfinite(poses).all():
        raise InputError(f"world_from_cam: expected finite poses of shape (N, 4, 4), got shape {poses.shape}")
    cameras = (intrinsics,) * len(poses) if isinstance(intrinsics, Intrinsics) else tuple(intrinsics)
    if len(cameras) != len(poses):
        raise InputError(f"intrinsics: expected one or one a frame ({len(poses)}), got {len(cameras)}")
    if shift is not None and np.shape(shift) != (len(poses), len(world.quads), 3):
        want = (len(poses), len(world.quads), 3)
        raise InputError(f"shift: expected metres of shape {want}, one row a quad and frame, got {np.shape(shift)}")
    used = renderer_used(renderer)
    return _frames(world, cameras, poses, used, shift)


def _frames(
    world: World, cameras: tuple[Intrinsics, ...], poses: Array, used: str, shift: Array | None
) -> Iterator[RenderedFrame]:
    if used == "gl":
        from wmkit.worlds.gl import render_gl as draw
    else:
        from wmkit.worlds.raster import render_numpy as draw
    for rgb, z in draw(world, cameras, poses, shift):
        yield RenderedFrame(rgb=rgb, z=z, valid=z > 0, renderer=used)
