"""The renderers against what geometry says: pixel centres, plane distances, reprojection, filtering, each other."""

import dataclasses

import numpy as np
import pytest

from wmkit.camera import Intrinsics, invert_rigid
from wmkit.camera_paths import look_at
from wmkit.errors import InputError
from wmkit.worlds import SMALL_CLIPS, Quad, Texture, World, render, renderer_used
from wmkit.worlds.gl import gl_problem
from wmkit.worlds.mipmap import pack_textures

CAMERA = Intrinsics(fx=50.0, fy=60.0, cx=20.0, cy=12.0, width=40, height=24)
HERE = np.eye(4)[None]


@pytest.fixture(params=["numpy", "gl"])
def renderer(request):
    if request.param == "gl" and gl_problem() is not None:
        pytest.skip(f"no OpenGL here: {gl_problem()}")
    return request.param


@pytest.fixture(scope="module")
def room():
    return SMALL_CLIPS[0].scene.build()


def one_quad(rgb, **place):
    return World(
        name="quad", quads=(Quad(texture=0, **place),), textures=(Texture(rgb=np.asarray(rgb, dtype=np.uint8)),)
    )


def frames(world, intrinsics, poses, renderer):
    return list(render(world, intrinsics, poses, renderer))


def test_pixel_centres_lie_at_halves(renderer):
    """A square of 4 x 3 px around the pixels 10..13, 5..7: their borders are at whole numbers, centres at halves.

    Border columns of a half-covered pixel would be grey if centres were whole numbers.
    """
    z = 2.0
    left, top = (np.array([10, 5]) - [CAMERA.cx, CAMERA.cy]) / [CAMERA.fx, CAMERA.fy] * z
    width, height = np.array([4, 3]) / [CAMERA.fx, CAMERA.fy] * z
    world = one_quad(np.full((1, 1, 3), 200), corner=(left, top, z), edge_u=(width, 0, 0), edge_v=(0, height, 0))
    (frame,) = frames(world, CAMERA, HERE, renderer)
    expected = np.zeros((24, 40), dtype=bool)
    expected[5:8, 10:14] = True
    assert np.array_equal(frame.valid, expected)
    assert np.array_equal(frame.rgb[..., 0], np.where(expected, 200, 0))


def test_a_known_point_lands_on_its_pixel(renderer):
    """One bright texel in the middle of 33 (drawn texel by texel onto pixels) shows at K·X, pixel centre included."""
    rgb = np.zeros((64, 64, 3))
    rgb[20, 40] = 255
    # 64 texels on 64 px at z = 1: texel (c, r) covers pixel (c - 12, r - 20).
    left, top = (np.array([-12, -20]) - [CAMERA.cx, CAMERA.cy]) / [CAMERA.fx, CAMERA.fy]
    world = one_quad(rgb, corner=(left, top, 1.0), edge_u=(64 / CAMERA.fx, 0, 0), edge_v=(0, 64 / CAMERA.fy, 0))
    (frame,) = frames(world, CAMERA, HERE, renderer)
    assert np.argwhere(frame.rgb[..., 0] > 127).tolist() == [[0, 28]]
    assert frame.rgb[0, 28, 0] == 255


def test_depth_is_the_distance_along_z_of_the_plane(renderer):
    """A slanted, partly near plane n·X = d has z = d / n·K⁻¹p at every pixel centre."""
    normal, distance = np.array([0.3, -0.9, -0.4]) / np.linalg.norm([0.3, -0.9, -0.4]), -1.3
    pose = look_at(np.array([[0.4, -0.6, -0.8]]), np.array([0.1, 0.3, 2.0]))
    u = np.cross(normal, [0.0, 0.0, 1.0])
    v = np.cross(normal, u)
    corner = normal * distance - 50 * u - 50 * v
    world = one_quad(np.full((4, 4, 3), 99), corner=tuple(corner), edge_u=tuple(100 * u), edge_v=tuple(100 * v))
    (frame,) = frames(world, CAMERA, pose, renderer)
    x, y = np.meshgrid(np.arange(40) + 0.5, np.arange(24) + 0.5)
    rays = np.linalg.inv(CAMERA.matrix) @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    cam_normal = pose[0, :3, :3].T @ normal
    z = ((distance - normal @ pose[0, :3, 3]) / (cam_normal @ rays)).reshape(x.shape)
    near = (z > 0.05) & (z < 30)
    assert near.sum() > 300
    # float32 output of numpy's float64; float32 throughout in OpenGL, whose sum of three cancels near the horizon.
    assert frame.z[near] == pytest.approx(z[near], rel=1e-6 if renderer == "numpy" else 3e-5)


def test_what_is_behind_or_beside_the_camera_is_not_drawn(renderer):
    grey = np.full((1, 1, 3), 90)
    for corner in ((-1.0, -1.0, -2.0), (40.0, 0.0, 2.0)):
        world = one_quad(grey, corner=corner, edge_u=(2, 0, 0), edge_v=(0, 2, 0))
        (frame,) = frames(world, CAMERA, HERE, renderer)
        assert not frame.valid.any()
        assert not frame.rgb.any()


def test_the_nearer_surface_hides_the_farther_whatever_the_order(renderer):
    far, near = (
        Quad(corner=(-9, -9, z), edge_u=(18, 0, 0), edge_v=(0, 18, 0), texture=texture)
        for texture, z in enumerate((5.0, 4.98))
    )
    textures = tuple(Texture(rgb=np.full((1, 1, 3), level, dtype=np.uint8)) for level in (50, 180))
    for quads in ((far, near), (near, far)):
        (frame,) = frames(World(name="two", quads=quads, textures=textures), CAMERA, HERE, renderer)
        assert (frame.rgb == 180).all()


def test_one_sided_quads_are_seen_from_the_front_only(renderer):
    front = Quad(corner=(-1, -1, 2), edge_u=(2, 0, 0), edge_v=(0, 2, 0), texture=0, two_sided=False)
    back = dataclasses.replace(front, edge_u=(0, 2, 0), edge_v=(2, 0, 0))
    textures = (Texture(rgb=np.full((1, 1, 3), 70, dtype=np.uint8)),)
    seen = [frames(World(name="s", quads=(q,), textures=textures), CAMERA, HERE, renderer)[0] for q in (front, back)]
    assert seen[0].valid.any()
    assert not seen[1].valid.any()


def test_a_half_covered_pixel_is_half_grey(renderer):
    left, top = (np.array([10.5, -5]) - [CAMERA.cx, CAMERA.cy]) / [CAMERA.fx, CAMERA.fy]
    world = one_quad(np.full((1, 1, 3), 200), corner=(left, top, 1.0), edge_u=(9, 0, 0), edge_v=(0, 9, 0))
    (frame,) = frames(world, CAMERA, HERE, renderer)
    assert (frame.rgb[:, 10] == 100).all()
    assert (frame.rgb[:, 9] == 0).all()
    assert (frame.rgb[:, 11] == 200).all()


@pytest.mark.parametrize("tilt", [0.0, 6.0])
def test_fine_texture_far_away_fades_to_its_mean_and_does_not_alias(renderer, tilt):
    """A one-texel checkerboard of 0 and 200, more than two texels a pixel both ways: anything but 100 is aliasing."""
    board = np.indices((256, 256)).sum(axis=0) % 2 * 200
    rgb = np.repeat(board[..., None], 3, axis=2)
    world = one_quad(rgb, corner=(-2, -2, 3.0), edge_u=(4, 0, tilt), edge_v=(0, 4, 0))
    (frame,) = frames(world, CAMERA, HERE, renderer)
    inner = frame.rgb[2:-2, 2:28]  # the tilted board ends at column 31
    assert np.abs(inner.astype(int) - 100).max() <= 1


def test_mip_levels_are_block_means():
    rgb = np.random.default_rng(0).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    pool = pack_textures((Texture(rgb=np.zeros((2, 2, 3), dtype=np.uint8)), Texture(rgb=rgb)))
    assert pool.levels.tolist() == [2, 4]
    start = pool.offset[1, 1]
    level = pool.texel[start : start + 8].view(np.uint8).reshape(4, 2, 4)[..., :3].astype(int)
    blocks = rgb.reshape(4, 2, 2, 2, 3).astype(int).sum(axis=(1, 3))
    assert np.array_equal(level, (blocks + 2) // 4)
    assert (pool.width[1, 3], pool.height[1, 3]) == (1, 1)
    assert np.array_equal(pool.offset[1, 4:], np.full(8, pool.offset[1, 3]))


def test_depth_carries_a_frame_into_another(room, renderer):
    """Colours of frame 0 found again in frame 5 through depth and cameras, wherever depth agrees (not occluded)."""
    clip = SMALL_CLIPS[0]
    poses, camera = clip.sampled.world_from_cam[[0, 5]], clip.intrinsics
    first, second = frames(room, camera, poses, renderer)
    y, x = (axis.ravel() for axis in np.indices(first.z.shape))
    rays = np.linalg.inv(camera.matrix) @ np.stack([x + 0.5, y + 0.5, np.ones(len(x))])
    second_from_first = invert_rigid(poses[1]) @ poses[0]
    points = second_from_first[:3, :3] @ (rays * first.z.ravel()) + second_from_first[:3, 3:]
    at = camera.matrix @ points
    u, v = at[0] / at[2] - 0.5, at[1] / at[2] - 0.5
    inside = (u >= 0) & (v >= 0) & (u < camera.width - 1) & (v < camera.height - 1)
    u, v, x, y, z = u[inside], v[inside], x[inside], y[inside], points[2, inside]
    assert inside.mean() > 0.8
    u0, v0 = u.astype(int), v.astype(int)
    fu, fv = (u - u0)[:, None], (v - v0)[:, None]

    def bilinear(image):
        image = image.reshape(camera.height, camera.width, -1).astype(float)
        top = image[v0, u0] * (1 - fu) + image[v0, u0 + 1] * fu
        return top * (1 - fv) + (image[v0 + 1, u0] * (1 - fu) + image[v0 + 1, u0 + 1] * fu) * fv

    inverse_z = bilinear(1 / second.z)[:, 0]  # linear on a plane, so bilinear is exact inside one surface
    same = np.abs(inverse_z * z - 1) < 1e-3
    assert same.mean() > 0.85  # the rest is newly hidden or beside a silhouette
    assert np.abs(inverse_z * z - 1)[same].max() < 1e-3
    assert np.median(np.abs(inverse_z * z - 1)[same]) < 1e-6
    difference = np.abs(bilinear(second.rgb) - first.rgb[y, x])[same]
    # Reading between pixels blurs the finest detail: 2 grey levels here. The control reads one pixel beside.
    beside = np.abs(bilinear(np.roll(second.rgb, 1, axis=1)) - first.rgb[y, x])[same]
    assert np.median(difference) < 3
    assert np.median(beside) > 2 * np.median(difference)


def test_both_renderers_agree(room):
    if gl_problem() is not None:
        pytest.skip(f"no OpenGL here: {gl_problem()}")
    clip = SMALL_CLIPS[0]
    poses = clip.sampled.world_from_cam[::4]
    for by_numpy, by_gl in zip(
        frames(room, clip.intrinsics, poses, "numpy"), frames(room, clip.intrinsics, poses, "gl"), strict=True
    ):
        assert (by_numpy.renderer, by_gl.renderer) == ("numpy", "gl")
        off = np.abs(by_numpy.rgb.astype(int) - by_gl.rgb).max(axis=2)
        # The same formulas in float32 here, float64 there: roundings one level apart. OpenGL snaps silhouettes to
        # 1/256 px, which moves a sub-sample or a centre across a few of them: at most 1 pixel in 1000 may differ more.
        assert (off > 1).mean() <= 1e-3
        apart = np.abs(by_numpy.z - by_gl.z) / by_numpy.z
        assert (apart > 1e-5).mean() <= 1e-3


def test_the_same_call_draws_the_same_bytes(room, renderer):
    clip = SMALL_CLIPS[0]
    poses = clip.sampled.world_from_cam[:2]
    once, twice = (frames(room, clip.intrinsics, poses, renderer) for _ in range(2))
    for a, b in zip(once, twice, strict=True):
        assert a.rgb.tobytes() == b.rgb.tobytes()
        assert a.z.tobytes() == b.z.tobytes()


def test_every_frame_may_have_its_own_camera(room, renderer):
    """Twice the focal length at the same place: the middle quarter of the wide picture, twice as large."""
    wide = Intrinsics.from_fov(80.0, 64, 48)
    tele = dataclasses.replace(wide, fx=2 * wide.fx, fy=2 * wide.fy)
    pose = SMALL_CLIPS[0].sampled.world_from_cam[[3, 3]]
    first, second = frames(room, (wide, tele), pose, renderer)
    inner = first.z[12:36, 16:48]
    pairs = second.z.reshape(24, 2, 32, 2)
    assert np.median(np.abs(pairs.mean(axis=(1, 3)) / inner - 1)) < 1e-3  # planes: mean of four around the centre


def test_auto_falls_back_to_numpy_and_says_so(room, monkeypatch):
    monkeypatch.setattr("wmkit.worlds.gl.gl_problem", lambda: "no driver")
    assert renderer_used("auto") == "numpy"
    (frame,) = frames(room, CAMERA, SMALL_CLIPS[0].sampled.world_from_cam[:1], "auto")
    assert frame.renderer == "numpy"
    with pytest.raises(InputError, match="no driver; use 'auto' or 'numpy'"):
        renderer_used("gl")


def test_a_missing_driver_is_reported_in_one_line(monkeypatch):
    """The probe of a machine whose EGL cannot be loaded: a reason, no exception, no dead process."""
    monkeypatch.setattr("wmkit.worlds.gl.PROBE", "import sys; sys.exit('EGL: libEGL.so not found')")
    assert gl_problem.__wrapped__() == "EGL: libEGL.so not found"
    monkeypatch.setattr("wmkit.worlds.gl.PROBE", "import os; os.abort()")
    assert gl_problem.__wrapped__() == "a driver that ended the process with status -6"


def test_bad_requests_are_named(room):
    with pytest.raises(InputError, match="one of auto, gl, numpy, got 'vulkan'"):
        render(room, CAMERA, HERE, "vulkan")
    with pytest.raises(InputError, match=r"shape \(4, 4\)"):
        render(room, CAMERA, np.eye(4), "numpy")
    with pytest.raises(InputError, match=r"one a frame \(1\), got 2"):
        render(room, (CAMERA, CAMERA), HERE, "numpy")
    with pytest.raises(InputError, match="finite"):
        render(room, CAMERA, HERE * np.nan, "numpy")
