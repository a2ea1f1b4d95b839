"""Long clips in windows: cutting, joining, what a seam measures, loops, and adjustment that holds its borders."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.unit.annotate.pose.walks import CENTRE, FOCAL_PX, SIZE, ring_walk
from wmkit.annotate.pose.bundle import bundle_adjust
from wmkit.annotate.pose.graph import Edge, placed
from wmkit.annotate.pose.long import map_any
from wmkit.annotate.pose.mapping import MappingConfig, Start
from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.seams import Seam, SeamConfig, Similarity, align
from wmkit.annotate.pose.second import SecondConfig, compare, second_estimate
from wmkit.annotate.pose.sliding import adjust_keyframes, thinned
from wmkit.annotate.pose.start import CameraSearch, map_clip
from wmkit.annotate.pose.tracks import Tracks
from wmkit.annotate.pose.windows import Chain, WindowConfig, cut, map_chain
from wmkit.camera import Array, invert_rigid
from wmkit.camera_paths import rotation_from_angles

SMALL = WindowConfig(longest=24, size=18, overlap=6, observations=60)
START = Start(model="SIMPLE_PINHOLE", params=((float(max(SIZE)), *CENTRE.tolist()),))
FRAMES = 54


@pytest.fixture(scope="module")
def walk() -> tuple[Scene, Tracks]:
    return ring_walk(FRAMES)


@pytest.fixture(scope="module")
def chain(walk: tuple[Scene, Tracks]) -> Chain:
    found = map_chain(walk[1], tuple(range(FRAMES)), (), START, MappingConfig(), SMALL)
    assert found is not None
    return found


def path_of(cam_from_world: Array) -> float:
    return float(np.linalg.norm(np.diff(invert_rigid(cam_from_world)[:, :3, 3], axis=0), axis=1).sum())


@pytest.mark.parametrize("count", [2, 80, 81, 108, 109, 289, 1000])
def test_windows_cover_every_keyframe_and_overlap(count: int) -> None:
    config = WindowConfig()
    windows = cut(count, config)
    assert sorted({k for window in windows for k in window}) == list(range(count))
    assert (len(windows) == 1) == (count <= config.longest)
    for before, after in pairwise(windows):
        assert len(range(after.start, before.stop)) >= config.overlap
        assert len(after) == config.size


def test_a_chain_of_windows_is_one_accurate_model(chain: Chain, walk: tuple[Scene, Tracks]) -> None:
    truth = walk[0]
    assert chain.scene.posed.all()
    assert len(chain.seams) == len(cut(FRAMES, SMALL)) - 1
    rotation_deg, position = compare(truth.cam_from_world, chain.scene.cam_from_world, path_of(truth.cam_from_world))
    # noise of 0.3 px is 0.033 degrees a point; measured 0.1 degrees and 0.2 % over the walk
    assert rotation_deg.max() < 0.5
    assert position.max() < 0.01
    assert chain.focal == pytest.approx([FOCAL_PX] * len(chain.focal), rel=0.02)


def test_seams_of_a_good_chain_are_small_but_not_zero(chain: Chain) -> None:
    for seam in chain.seams:
        assert 0 < seam.rotation_deg < 0.3
        assert 0 < seam.position < 0.01
        assert seam.frames >= SMALL.overlap


def moved(scene: Scene, by: Similarity) -> Scene:
    return replace(scene, cam_from_world=by.cameras(scene.cam_from_world), xyz=by.points(scene.xyz))


SHIFT = Similarity(scale=2.5, rotation=rotation_from_angles(40.0, 10.0, -20.0), shift=np.array([3.0, -1.0, 7.0]))


def test_an_injected_similarity_is_found_and_leaves_no_seam(walk: tuple[Scene, Tracks]) -> None:
    scene = walk[0].at_frames(np.arange(10))
    found = align(moved(scene, SHIFT), scene, SeamConfig())
    assert found is not None
    similarity, seam, _ = found
    assert similarity.scale == pytest.approx(2.5)
    np.testing.assert_allclose(similarity.rotation, SHIFT.rotation, atol=1e-9)
    np.testing.assert_allclose(similarity.shift, SHIFT.shift, atol=1e-8)
    assert seam.frames == 10
    assert seam.rotation_deg < 1e-6
    assert seam.position < 1e-9


def test_a_seam_measures_the_misfit_that_was_injected(walk: tuple[Scene, Tracks]) -> None:
    scene = walk[0].at_frames(np.arange(10))
    world_from_cam = invert_rigid(scene.cam_from_world)
    sign = np.where(np.arange(10) % 2, 1.0, -1.0)
    world_from_cam[:10, :3, :3] = [
        pose @ rotation_from_angles(0.0, 0.0, 0.5 * s)
        for pose, s in zip(world_from_cam[:10, :3, :3], sign, strict=True)
    ]
    world_from_cam[:10, 1, 3] += 0.05 * sign  # half up, half down: nothing that a similarity could take up
    bent = replace(scene, cam_from_world=invert_rigid(world_from_cam))
    found = align(moved(scene, SHIFT), bent, SeamConfig())
    assert found is not None
    _, seam, depth = found
    assert seam.rotation_deg == pytest.approx(0.5, rel=0.1)
    assert seam.position == pytest.approx(2.5 * 0.05 / depth, rel=0.1)


@pytest.mark.parametrize(
    "config", [SeamConfig(rotation_deg=0.4), SeamConfig(position=0.005), SeamConfig(min_frames=11)]
)
def test_maps_that_do_not_fit_are_not_joined(walk: tuple[Scene, Tracks], config: SeamConfig) -> None:
    scene = walk[0].at_frames(np.arange(10))
    world_from_cam = invert_rigid(scene.cam_from_world)
    sign = np.where(np.arange(len(world_from_cam)) % 2, 1.0, -1.0)
    world_from_cam[:, 1, 3] += 0.05 * sign
    world_from_cam[:, :3, :3] = world_from_cam[:, :3, :3] @ rotation_from_angles(0.0, 0.0, 0.5 * sign)
    assert align(scene, replace(scene, cam_from_world=invert_rigid(world_from_cam)), config) is None


def test_where_tracks_end_the_largest_piece_stays_and_nothing_is_made_up(walk: tuple[Scene, Tracks]) -> None:
    tracks, cut_at = walk[1], 20
    born = len(tracks.rgb)
    broken = replace(
        tracks,
        ids=tuple(ids + born * (frame >= cut_at) for frame, ids in enumerate(tracks.ids)),
        rgb=np.tile(tracks.rgb, (2, 1)),
    )
    found = map_chain(broken, tuple(range(FRAMES)), (), START, MappingConfig(), SMALL)
    assert found is not None
    posed = np.flatnonzero(found.scene.posed)
    assert posed.min() >= cut_at
    assert len(posed) >= FRAMES - cut_at - 2
    assert np.isnan(found.scene.cam_from_world[:cut_at]).all()


def tie(a: int, b: int, scale: float = 1.0, heading_deg: float = 0.0) -> Edge:
    step = Similarity(scale=scale, rotation=rotation_from_angles(heading_deg, 0.0, 0.0), shift=np.array([0, 0, 1.0]))
    return Edge(a=a, b=b, a_from_b=step, seam=Seam(frames=9, rotation_deg=0.1, position=0.01), unit=4.0)


def test_a_loop_spreads_the_drift_over_its_ties() -> None:
    # six windows round a hexagon, each tie 0.5 degrees and 2 % off; the loop says where the last one is
    edges = [tie(k, k + 1, 1.02, 60.5) for k in range(5)]
    open_chain, closed = placed([1] * 6, edges), placed([1] * 6, [*edges, tie(5, 0, 1.02, 60.5)])

    def gap(places: list[Similarity | None]) -> tuple[float, float]:
        first, last = places[0], places[5]
        assert first is not None
        assert last is not None
        back = first.inverse().after(last).after(tie(5, 0).a_from_b)
        return abs(float(np.log(back.scale))), float(np.linalg.norm(back.shift))

    assert gap(open_chain)[0] == pytest.approx(5 * np.log(1.02))
    assert gap(closed)[0] < np.log(1.02)
    assert gap(closed)[1] < 0.5 * gap(open_chain)[1]


def test_windows_without_a_tie_are_left_out() -> None:
    places = placed([10, 30, 30, 20], [tie(0, 1), tie(2, 3)])
    assert [place is not None for place in places] == [False, False, True, True]
    assert places[2] is not None
    np.testing.assert_array_equal(places[2].rotation, np.eye(3))


def shaken(walk: tuple[Scene, Tracks]) -> Scene:
    rng = np.random.default_rng(1)
    truth = walk[0]
    world_from_cam = invert_rigid(truth.cam_from_world)
    world_from_cam[:, :3, 3] += rng.normal(0, 0.02, (len(world_from_cam), 3))
    scene = replace(truth, cam_from_world=invert_rigid(world_from_cam), focal=truth.focal * 1.02)
    return scene.at_frames(np.arange(FRAMES))


def test_adjusting_in_windows_comes_near_adjusting_in_one(walk: tuple[Scene, Tracks]) -> None:
    truth, scene = walk[0], shaken(walk)
    keyframes, path = np.arange(FRAMES), path_of(truth.cam_from_world)
    whole = bundle_adjust(scene, 1.0)
    windowed = adjust_keyframes(scene, keyframes, 1.0, SMALL, fixed_focal=False, iterations=50)
    worst = [compare(truth.cam_from_world, found.cam_from_world, path)[1].max() for found in (scene, whole, windowed)]
    assert worst[1] < 0.5 * worst[0]
    assert worst[2] < 2 * worst[1]
    assert windowed.focal[0] == pytest.approx(FOCAL_PX, rel=0.005)
    error_px = [np.median(found.error_px()[found.usable]) for found in (whole, windowed)]
    assert error_px[1] < 1.05 * error_px[0]


def test_a_short_clip_is_adjusted_in_one_piece_to_the_byte(walk: tuple[Scene, Tracks]) -> None:
    scene = shaken(walk)
    config = WindowConfig(longest=FRAMES)
    same = adjust_keyframes(scene, np.arange(FRAMES), 1.0, config, fixed_focal=False, iterations=7)
    whole = bundle_adjust(scene, 1.0, iterations=7)
    assert same.cam_from_world.tobytes() == whole.cam_from_world.tobytes()
    assert same.xyz.tobytes() == whole.xyz.tobytes()


def test_held_frames_do_not_move(walk: tuple[Scene, Tracks]) -> None:
    scene = shaken(walk).at_frames(np.arange(12))
    found = bundle_adjust(scene, 1.0, fixed_focal=True, held=(0, 1, 11))
    still = np.abs(found.cam_from_world - scene.cam_from_world).max(axis=(1, 2)) < 1e-12  # through a quaternion
    assert np.flatnonzero(still).tolist() == [0, 1, 11]


def test_thinning_bounds_observations_and_starves_no_frame(walk: tuple[Scene, Tracks]) -> None:
    scene = walk[0]
    thin = thinned(scene, 40, 60)
    count = np.bincount(thin.obs_frame, minlength=FRAMES)
    assert count.min() >= 30
    assert len(thin.obs_frame) <= 2 * 40 * FRAMES < len(scene.obs_frame)


def test_a_short_clip_takes_the_path_it_always_took() -> None:
    _, tracks = ring_walk(12)
    search = CameraSearch()
    found = map_any(tracks, tuple(range(12)), (), None, search, WindowConfig())
    before = map_clip(tracks, tuple(range(12)), (), None, search)
    assert found is not None
    assert before is not None
    assert found[1] is None
    assert found[0].scene.cam_from_world.tobytes() == before.scene.cam_from_world.tobytes()


def test_a_long_clip_is_mapped_in_windows_with_one_camera(walk: tuple[Scene, Tracks]) -> None:
    search = CameraSearch()
    found = map_any(walk[1], tuple(range(FRAMES)), (), None, search, SMALL)
    assert found is not None
    mapped, chain = found
    assert chain is not None
    assert len(chain.seams) == len(cut(FRAMES, SMALL)) - 1
    assert mapped.lens is None
    assert mapped.scene.posed.all()
    assert not mapped.scene.zooms


def test_the_second_estimate_of_a_long_clip_is_in_windows_too(walk: tuple[Scene, Tracks]) -> None:
    truth, tracks = walk
    config = SecondConfig(min_shared=1000)  # no keyframe is left out
    second = second_estimate(tracks, tuple(range(FRAMES)), (), START, config, SMALL)
    assert second is not None
    found, focal, share = second.poses(config, fixed_focal=False)
    assert share == 1.0
    assert focal == pytest.approx(FOCAL_PX, rel=0.02)
    rotation_deg, position = compare(truth.cam_from_world, found, path_of(truth.cam_from_world))
    assert rotation_deg.max() < 0.5
    assert position.max() < 0.01
