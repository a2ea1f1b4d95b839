"""What moves on its own, on exact scenes and on rendered worlds whose movers are known pixel by pixel."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.annotate.pose.scenes import SIZE, arc_scene, tracks_of
from wmkit.annotate.pose import TrackSfmConfig, still_point, track_sfm
from wmkit.annotate.pose.dynamic import find_dynamic
from wmkit.annotate.pose.scene import Scene
from wmkit.annotate.pose.still_point import Followed, still_error_px
from wmkit.annotate.pose.strays import find_strays
from wmkit.annotate.pose.tracks import TrackConfig, Tracks, track_points
from wmkit.annotate.protocols import PoseEstimate
from wmkit.camera import Array, Lens
from wmkit.clip import DynamicMask
from wmkit.worlds.families import Film, MemorySource, WorldCase, film

Mask = NDArray[np.bool_]
FRAMES = 12
KEYFRAMES = np.array([0, 4, 8, 11])


def followed_of(scene: Scene) -> Followed:
    order = np.lexsort((scene.obs_frame, scene.obs_track))
    track = np.unique(scene.obs_track[order], return_inverse=True)[1]
    _, first, count = np.unique(track, return_index=True, return_counts=True)
    return Followed(
        frame=scene.obs_frame[order], track=track, xy=scene.obs_xy[order], first=first, count=count.astype(np.intp)
    )


def dynamic_of(scene: Scene, tracks: Tracks, keyframes: NDArray[np.intp]) -> DynamicMask:
    return find_dynamic(find_strays(scene, tracks), scene.posed, tracks, keyframes)


def in_patch(xy: Array) -> Mask:
    """Whether points lie in the right half of the picture, where the movers of `moved` start."""
    return xy[:, 0] > SIZE[0] / 2


def moved(scene: Scene, share: float = 1.0, way: tuple[float, float] = (0.4, -4.0)) -> tuple[Scene, set[int]]:
    """The scene with tracks that start at the right going so many px a frame `way`, across their epipolar lines.

    They are in no map: their points are gone.
    """
    start = scene.obs_frame == 0
    rng = np.random.default_rng(1)
    right = scene.obs_track[start][in_patch(scene.obs_xy[start])]
    chosen = right[rng.random(len(right)) < share]
    moves = np.isin(scene.obs_track, chosen)
    xy = scene.obs_xy + moves[:, None] * scene.obs_frame[:, None] * np.array(way)
    inside = np.asarray(((xy > 0) & (xy < SIZE)).all(axis=1))
    xyz = np.where(np.isin(np.arange(len(scene.xyz)), chosen)[:, None], np.nan, scene.xyz)
    return replace(scene, obs_xy=xy, xyz=xyz).keep(inside), set(chosen.tolist())


def test_a_still_point_explains_its_track_exactly() -> None:
    scene = arc_scene(frames=FRAMES)
    assert still_error_px(scene, followed_of(scene)).max() < 1e-6


def test_the_error_of_a_still_track_is_its_noise() -> None:
    scene = arc_scene(frames=FRAMES, noise_px=0.5)
    error = still_error_px(scene, followed_of(scene))
    assert 0.4 < np.sqrt((error**2).mean() / 2) < 0.52  # three parameters a track take a little of the 0.5


def test_a_point_at_infinity_stands_still() -> None:
    scene = arc_scene(frames=FRAMES)
    far = replace(scene, xyz=scene.xyz * 1e9)
    point = far.in_camera()
    xy = far.focal[far.obs_frame, None] * point[:, :2] / point[:, 2:] + far.centre
    assert still_error_px(scene, followed_of(replace(far, obs_xy=xy))).max() < 1e-3


def test_a_slip_late_in_life_does_not_move_the_point() -> None:
    scene = arc_scene(frames=FRAMES)
    slipped = scene.obs_xy + np.where(scene.obs_frame == FRAMES - 1, 30.0, 0.0)[:, None]
    followed = followed_of(replace(scene, obs_xy=slipped))
    error = still_error_px(scene, followed)
    assert np.median(error[followed.frame < FRAMES - 1]) < 1.0
    assert error[followed.frame == FRAMES - 1].min() > 15


def test_blocks_say_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _ = moved(arc_scene(frames=FRAMES, noise_px=0.3))
    followed = followed_of(scene)
    whole = still_error_px(scene, followed)
    monkeypatch.setattr(still_point, "BLOCK", 50)
    np.testing.assert_allclose(still_error_px(scene, followed), whole, rtol=1e-9, atol=1e-9)


def test_nothing_moves_in_a_still_scene() -> None:
    scene = arc_scene(frames=FRAMES, points=400, noise_px=0.5)
    dynamic = dynamic_of(scene, tracks_of(scene), KEYFRAMES)
    np.testing.assert_array_equal(dynamic.frame, KEYFRAMES)
    assert dynamic.mask.shape == (4, 48, 64)  # 64 cells along the long side of 640 x 480
    assert not dynamic.mask.any()


def test_what_moves_is_covered_and_the_rest_is_not() -> None:
    scene, chosen = moved(arc_scene(frames=FRAMES, points=600, noise_px=0.3))
    dynamic = dynamic_of(scene, tracks_of(scene), KEYFRAMES)
    for frame, mask in zip(dynamic.frame.tolist(), dynamic.mask, strict=True):
        at = scene.obs_frame == frame
        column, row = (scene.obs_xy[at] / 10).astype(int).T
        moving = np.isin(scene.obs_track[at], list(chosen))
        assert mask[row, column][moving].mean() > 0.9
        assert mask[row, column][~moving].mean() < 0.1


def test_a_map_that_is_a_compromise_hides_nothing() -> None:
    """Cameras halfway between two halves that part: both are in the map, both err alike, and that is no noise."""
    scene = arc_scene(frames=FRAMES, points=600, noise_px=0.3)
    start = scene.obs_frame == 0
    right = np.isin(scene.obs_track, scene.obs_track[start][in_patch(scene.obs_xy[start])])
    way = np.where(right, -2.5, 2.5)[:, None] * scene.obs_frame[:, None] * np.array((0.1, 1.0))
    parting = replace(scene, obs_xy=scene.obs_xy + way)
    inside = np.asarray(((parting.obs_xy > 0) & (parting.obs_xy < SIZE)).all(axis=1))
    parting = parting.keep(inside)
    assert dynamic_of(parting, tracks_of(parting), KEYFRAMES).mask.mean() > 0.3


def test_lone_failures_of_tracking_are_no_movement() -> None:
    scene = arc_scene(frames=FRAMES, points=400, noise_px=0.3)
    rng = np.random.default_rng(0)
    lost = np.arange(0, 400, 12)
    way = rng.normal(0, 6, (400, 2)) * np.isin(np.arange(400), lost)[:, None]
    astray = replace(scene, obs_xy=scene.obs_xy + way[scene.obs_track] * scene.obs_frame[:, None])
    inside = np.asarray(((astray.obs_xy > 0) & (astray.obs_xy < SIZE)).all(axis=1))
    assert dynamic_of(astray, tracks_of(astray.keep(inside)), KEYFRAMES).mask.mean() < 0.002


def test_tracks_dropped_for_straying_count() -> None:
    """Fast movers leave nothing but short tracks that the tracker dropped: born at 3, gone astray on the way to 5."""
    still = arc_scene(frames=FRAMES, points=600, noise_px=0.3)
    scene, chosen = moved(still, way=(0.0, -12.0))
    moves = np.isin(scene.obs_track, list(chosen))
    scene = scene.keep(~moves | ((scene.obs_frame >= 3) & (scene.obs_frame <= 5)))
    tracks, last = tracks_of(scene), 5
    strayed = np.isin(tracks.ids[last], list(chosen))
    cut = replace(
        tracks,
        ids=tuple(ids[~strayed] if frame == last else ids for frame, ids in enumerate(tracks.ids)),
        xy=tuple(xy[~strayed] if frame == last else xy for frame, xy in enumerate(tracks.xy)),
    )
    nothing = (np.zeros(0, np.int64), np.zeros((0, 2), np.float32))
    seen = tuple(
        (tracks.ids[last][strayed], tracks.xy[last][strayed]) if frame == last else nothing for frame in range(FRAMES)
    )
    assert strayed.sum() > 50
    assert not dynamic_of(scene, cut, np.array([4])).mask.any()
    assert dynamic_of(scene, replace(cut, astray=seen), np.array([4])).mask.mean() > 0.1


def test_unposed_keyframes_have_no_mask() -> None:
    scene = arc_scene(frames=FRAMES, points=100)
    cam_from_world = scene.cam_from_world.copy()
    cam_from_world[4] = np.nan
    dynamic = dynamic_of(replace(scene, cam_from_world=cam_from_world), tracks_of(scene), KEYFRAMES)
    assert dynamic.frame.tolist() == [0, 8, 11]


def engine(case: Film) -> PoseEstimate:
    fps = 1 / float(case.trajectory.time_s[1])
    estimate = TrackSfmConfig().build("cpu").estimate(MemorySource(case.rgb, fps), 0)
    assert isinstance(estimate, PoseEstimate)
    return estimate


def of_cells(moving: Mask, shape: tuple[int, int]) -> Mask:
    """(h, w) cells more than half of whose pixels move."""
    height, width = moving.shape
    row, column = np.arange(height) * shape[0] // height, np.arange(width) * shape[1] // width
    hits, size = np.zeros(shape), np.zeros(shape)
    np.add.at(hits, (row[:, None], column), moving)
    np.add.at(size, (row[:, None], column), 1)
    return hits > size / 2


def precision_and_recall(dynamic: DynamicMask, moving: Mask) -> tuple[float, float]:
    truth = np.array(
        [of_cells(moving[frame], (dynamic.mask.shape[1], dynamic.mask.shape[2])) for frame in dynamic.frame]
    )
    hits = (truth & dynamic.mask).sum()
    return float(hits / max(dynamic.mask.sum(), 1)), float(hits / truth.sum())


@pytest.fixture(scope="module")
def crowd() -> tuple[Film, PoseEstimate]:
    case = film(WorldCase(family="moving_objects", seed=6))
    return case, engine(case)


def test_what_strayed_was_alive_and_is_no_track_any_more(crowd: tuple[Film, PoseEstimate]) -> None:
    case, _ = crowd
    tracks = track_points(MemorySource(case.rgb[:12], 8.0), replace(TrackConfig(), epipolar_px=0.5))
    assert len(tracks.astray) == len(tracks)
    assert sum(len(ids) for ids, _ in tracks.astray) > 0
    for frame in range(1, len(tracks)):
        ids, xy = tracks.astray[frame]
        assert np.isin(ids, tracks.ids[frame - 1]).all()
        assert not np.isin(ids, tracks.ids[frame]).any()
        assert ((xy > 0) & (xy < case.rgb.shape[2:0:-1])).all()


def test_what_strayed_is_straightened_with_the_tracks(crowd: tuple[Film, PoseEstimate]) -> None:
    case, _ = crowd
    height, width = case.rgb.shape[1:3]
    tracks = track_points(MemorySource(case.rgb[:4], 8.0), TrackConfig())
    strayed = replace(tracks, astray=tuple(zip(tracks.ids, tracks.xy, strict=True)))
    lens = Lens(model="RADIAL", params=(200.0, width / 2, height / 2, -0.1, 0.01), width=width, height=height)
    unbent = strayed.undistorted(lens, lens.default_pinhole())
    for (ids, xy), same_ids, same_xy in zip(unbent.astray, unbent.ids, unbent.xy, strict=True):
        np.testing.assert_array_equal(ids, same_ids)
        np.testing.assert_array_equal(xy, same_xy)


def test_movers_are_found_through_the_engine(crowd: tuple[Film, PoseEstimate]) -> None:
    case, estimate = crowd
    assert estimate.dynamic is not None
    precision, recall = precision_and_recall(estimate.dynamic, case.moving)
    assert precision > 0.55  # measured 0.69
    assert recall > 0.35  # measured 0.53


def test_the_mask_changes_nothing_else(crowd: tuple[Film, PoseEstimate], monkeypatch: pytest.MonkeyPatch) -> None:
    case, estimate = crowd
    monkeypatch.setattr(track_sfm, "find_dynamic", lambda strays, posed, tracks, keyframes: None)
    without = engine(case)
    assert without.dynamic is None
    for name in ("world_from_cam", "covariance"):
        left, right = getattr(estimate.trajectory, name), getattr(without.trajectory, name)
        assert left.tobytes() == right.tobytes()
    assert estimate.points.xyz.tobytes() == without.points.xyz.tobytes()
    assert estimate.intrinsics == without.intrinsics
    assert estimate.quality is not None
    assert without.quality is not None
    assert repr(estimate.quality.features) == repr(without.quality.features)  # NaN is NaN here


@pytest.mark.parametrize("family", ["orbit", "drive"])
def test_a_still_world_has_an_almost_empty_mask(family: str) -> None:
    case = film(WorldCase(family=family, seed=0 if family == "orbit" else 1))
    dynamic = engine(case).dynamic
    assert dynamic is not None
    assert dynamic.mask.mean() < 0.02  # measured 0.003 and 0.000
