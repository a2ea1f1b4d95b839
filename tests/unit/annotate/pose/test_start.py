"""The first scene of a clip: which tracks it is mapped from, which focal lengths it begins with, lens and zoom."""

import errno
import resource

import numpy as np
import pytest

from tests.unit.annotate.pose.scenes import FOCAL_PX, SIZE, arc_scene, tracks_of
from tests.unit.annotate.pose.test_lens import LENSES, PINHOLE, walk_scene
from wmkit.annotate.pose import start as start_module
from wmkit.annotate.pose.bundle import bundle_adjust
from wmkit.annotate.pose.mapping import MappingConfig, Start, map_keyframes
from wmkit.annotate.pose.scene import Scene, longest_tracks
from wmkit.annotate.pose.start import CameraSearch, Mapped, map_clip, starts
from wmkit.annotate.pose.tracks import Tracks
from wmkit.annotate.pose.zoom import ZoomConfig, zoom_gain
from wmkit.camera import CameraPrior, invert_rigid

FRAMES = 9
KEYFRAMES = tuple(range(FRAMES))


def prior_of(focal_px: float, sigma_log: float, centre: tuple[float, float] | None = None) -> CameraPrior:
    cx, cy = centre or (None, None)
    return CameraPrior(fx=focal_px, fy=focal_px, cx=cx, cy=cy, sigma_log=sigma_log, source="a test")


def mapped_clip(tracks: Tracks, prior: CameraPrior | None = None) -> Mapped:
    keyframes = tuple(range(len(tracks)))
    found = map_clip(tracks, keyframes, (), prior, CameraSearch())
    assert found is not None
    return found


def rotation_off_deg(scene: Scene, truth: Scene) -> float:
    """Largest angle between relative rotations to the first camera."""
    a, b = (s.cam_from_world[:, :3, :3] @ s.cam_from_world[0, :3, :3].T for s in (scene, truth))
    relative = np.swapaxes(a, 1, 2) @ b
    sine = np.linalg.norm(relative - np.swapaxes(relative, 1, 2), axis=(1, 2)) / np.sqrt(8)
    return float(np.degrees(np.arcsin(np.clip(sine, 0, 1))).max())


@pytest.fixture(scope="module")
def plenty() -> Scene:
    return arc_scene(frames=FRAMES, points=600, noise_px=0.2)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("fits_bytes", [0, 20_000, 200_000])
def test_a_full_disk_is_not_taken_for_tracks_without_a_map(plenty: Scene, fits_bytes: int, at_once: bool) -> None:
    """pycolmap's own words for it are "No registered database factory succeeded" and others."""
    begin = starts(tracks_of(plenty), None, MappingConfig())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (fits_bytes, before[1]))
    try:
        with pytest.raises(OSError) as full:
            map_keyframes(tracks_of(plenty), KEYFRAMES, (), begin, MappingConfig(), at_once=at_once)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.value.errno == errno.EFBIG


def test_plenty_of_tracks_leave_a_half_for_a_second_estimate(plenty: Scene) -> None:
    tracks = tracks_of(plenty)
    assert np.median([len(ids) for ids in tracks.half(0).ids]) >= start_module.HALF_ALIVE
    mapped = mapped_clip(tracks)
    assert mapped.disjoint
    known = np.flatnonzero(np.isfinite(mapped.scene.xyz[:, 0]))
    assert len(known) > 150
    assert (known % 2 == 0).all(), "the points come from the even tracks alone"
    assert len(mapped.scene.obs_frame) == sum(len(ids) for ids in tracks.ids), "what was observed is all there"
    assert mapped.scene.posed.all()
    assert rotation_off_deg(mapped.scene, plenty) < 0.2
    assert abs(mapped.scene.focal[0] / FOCAL_PX - 1) < 0.02
    assert not mapped.fixed_focal
    assert mapped.lens is None
    assert not mapped.scene.zooms


def test_few_tracks_are_all_used() -> None:
    mapped = mapped_clip(tracks_of(arc_scene(frames=FRAMES, points=200, noise_px=0.2)))
    assert not mapped.disjoint
    known = np.flatnonzero(np.isfinite(mapped.scene.xyz[:, 0]))
    assert set(known % 2) == {0, 1}
    assert mapped.scene.posed.all()


def test_a_known_focal_length_stays(plenty: Scene) -> None:
    mapped = mapped_clip(tracks_of(plenty), prior_of(FOCAL_PX, 0.01))
    assert mapped.fixed_focal
    np.testing.assert_array_equal(mapped.scene.focal, FOCAL_PX)
    # right or wrong: who names it with such certainty is believed
    mapped = mapped_clip(tracks_of(plenty), prior_of(1.05 * FOCAL_PX, 0.01))
    np.testing.assert_array_equal(mapped.scene.focal, 1.05 * FOCAL_PX)


def test_a_vague_focal_length_is_only_where_the_search_begins(plenty: Scene) -> None:
    mapped = mapped_clip(tracks_of(plenty), prior_of(1.1 * FOCAL_PX, 0.1))
    assert not mapped.fixed_focal
    assert abs(mapped.scene.focal[0] / FOCAL_PX - 1) < 0.02


def test_where_the_search_begins() -> None:
    tracks = tracks_of(arc_scene())
    config = MappingConfig(initial_focal=(1.0, 0.5))
    blind = starts(tracks, None, config)
    guesses = ((640.0, 320.0, 240.0), (320.0, 320.0, 240.0))
    assert blind == Start(model="SIMPLE_PINHOLE", params=guesses, focal_prior=(512.0, 256.0))
    prior = CameraPrior(fx=490.0, fy=510.0, cx=300.0, cy=250.0, sigma_log=0.2, source="a test")
    vague = starts(tracks, prior, config)
    first = (float(np.sqrt(490.0 * 510.0)), 300.0, 250.0)
    assert vague.params == (first, (640.0, 300.0, 250.0), (320.0, 300.0, 250.0))
    assert not vague.fixed
    known = starts(tracks, prior_of(500.0, 0.02, (300.0, 250.0)), config)
    assert known == Start(
        model="SIMPLE_PINHOLE", params=((500.0, 300.0, 250.0),), fixed=True, focal_prior=(500.0, 10.0)
    )


def test_tracks_that_start_nothing_map_to_nothing() -> None:
    tracks = tracks_of(arc_scene(points=8))
    assert map_clip(tracks, tuple(range(6)), (), None, CameraSearch()) is None


def test_a_model_names_its_images_by_their_frames_and_is_the_same_twice(plenty: Scene) -> None:
    tracks = tracks_of(plenty)
    begin = starts(tracks, None, MappingConfig())
    models = [map_keyframes(tracks, (0, 2, 4, 6, 8), (), begin, MappingConfig()) for _ in range(2)]
    poses = []
    for found in models:
        assert found is not None
        assert found.registered == 1.0
        assert found.explained > 0.9
        model = found.model
        assert sorted(model.reg_image_ids()) == [1, 3, 5, 7, 9]
        poses.append(np.array([model.image(i).cam_from_world().matrix() for i in sorted(model.reg_image_ids())]))
    assert poses[0].tobytes() == poses[1].tobytes()


def test_linked_pairs_are_matched_though_far_apart() -> None:
    """Two halves of a clip that no track joins but one pair: without it, only half of the keyframes are posed."""
    scene = arc_scene(frames=12, points=900, noise_px=0.1)
    # a point belongs to the first six frames, to the last six, or (a third of them) to frames 0 and 11 under one name
    side = scene.obs_frame >= 6
    joint = (scene.obs_track % 3 == 0) & np.isin(scene.obs_frame, (0, 11))
    track = np.where(side & ~joint, scene.obs_track + 900, scene.obs_track)
    order = np.lexsort((track, scene.obs_frame))
    apart = Scene(
        cam_from_world=scene.cam_from_world,
        focal=scene.focal,
        centre=scene.centre,
        xyz=np.vstack([scene.xyz, scene.xyz]),
        obs_frame=scene.obs_frame[order],
        obs_track=track[order],
        obs_xy=scene.obs_xy[order],
        size=SIZE,
    )
    tracks = tracks_of(apart)
    keyframes, config = tuple(range(12)), MappingConfig(neighbours=5)
    begin = Start(model="SIMPLE_PINHOLE", params=((FOCAL_PX, SIZE[0] / 2, SIZE[1] / 2),), fixed=True)
    alone = map_keyframes(tracks, keyframes, (), begin, config)
    tied = map_keyframes(tracks, keyframes, ((0, 11),), begin, config)
    assert alone is not None
    assert tied is not None
    assert alone.registered == 0.5
    assert tied.registered > 0.5


def test_a_lens_is_found_and_the_tracks_straightened() -> None:
    lens = LENSES["fisheye"]
    scene = walk_scene(lens, forward=False, noise_px=0.2, frames=FRAMES, points=1600)
    mapped = mapped_clip(tracks_of(scene))
    assert mapped.lens is not None
    pinhole = mapped.lens.default_pinhole()
    np.testing.assert_array_equal(mapped.scene.centre, (pinhole.cx, pinhole.cy))
    assert abs(mapped.scene.focal[0] / pinhole.fx - 1) < 0.02
    # a point far from the middle, where the lens bends most, lies where a pinhole sees it
    ids, xy = mapped.tracks.ids[0], mapped.tracks.xy[0]
    world = scene.xyz[ids] @ scene.cam_from_world[0, :3, :3].T + scene.cam_from_world[0, :3, 3]
    ray = world[:, :2] / world[:, 2:]
    off = np.linalg.norm((xy - mapped.scene.centre) / pinhole.fx - ray, axis=1) * PINHOLE.fx
    bent = np.linalg.norm((scene.obs_xy[scene.obs_frame == 0] - scene.centre) / lens.undistorted_core.fx, axis=1)
    assert np.percentile(off, 95) < 3.0
    assert np.percentile(np.abs(np.tan(bent) - bent), 95) * PINHOLE.fx > 30, "far more than is left of it"
    assert rotation_off_deg(mapped.scene, scene) < 0.3


def zooming_scene(ratio: float) -> Scene:
    """A walk along a wall of things while the focal length grows by `ratio`."""
    scene = walk_scene(None, forward=False, noise_px=0.2, frames=FRAMES, points=1600)
    focal = FOCAL_PX * ratio ** np.linspace(0, 1, FRAMES)
    grown = (scene.obs_xy - scene.centre) * (focal / FOCAL_PX)[scene.obs_frame, None] + scene.centre
    inside = ((grown > 0) & (grown < SIZE)).all(axis=1)
    return Scene(
        cam_from_world=scene.cam_from_world,
        focal=focal,
        centre=scene.centre,
        xyz=scene.xyz,
        obs_frame=scene.obs_frame[inside],
        obs_track=scene.obs_track[inside],
        obs_xy=grown[inside],
        size=SIZE,
    )


def test_a_zoom_is_found_frame_by_frame() -> None:
    scene = zooming_scene(1.5)
    mapped = mapped_clip(tracks_of(scene))
    assert mapped.scene.zooms
    assert mapped.lens is None
    np.testing.assert_allclose(mapped.scene.focal / mapped.scene.focal[0], scene.focal / scene.focal[0], rtol=0.03)
    assert not mapped.fixed_focal


def test_a_lens_that_takes_more_of_the_error_does_not_hide_a_zoom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_module, "lens_gain", lambda *_: 0.99)
    monkeypatch.setattr(start_module, "find_lens", lambda *_: LENSES["barrel"])
    mapped = mapped_clip(tracks_of(zooming_scene(1.3)))
    assert mapped.scene.zooms, "under the lens, focal lengths each free take as much away again"
    assert mapped.lens is None


def test_the_gain_of_a_zoom() -> None:
    def gain(scene: Scene) -> float:
        blind = Scene(
            cam_from_world=scene.cam_from_world,
            focal=np.full(FRAMES, float(np.median(scene.focal))),
            centre=scene.centre,
            xyz=scene.xyz,
            obs_frame=scene.obs_frame,
            obs_track=scene.obs_track,
            obs_xy=scene.obs_xy,
            size=SIZE,
        )
        return zoom_gain(bundle_adjust(longest_tracks(blind, 400), 1.0, iterations=40), ZoomConfig(), 40)

    assert gain(zooming_scene(1.5)) > 0.3
    assert gain(zooming_scene(1.0)) == 0
    assert gain(zooming_scene(1.02)) == 0, "2 % are no zoom"


def test_the_arc_is_seen_from_its_own_side() -> None:
    """The scene's own check: a mapped arc bends the way the true one does."""
    truth = arc_scene(frames=FRAMES, points=600)
    mapped = mapped_clip(tracks_of(truth))
    for scene in (truth, mapped.scene):
        centre = invert_rigid(scene.cam_from_world)[:, :3, 3]
        forward = scene.cam_from_world[0, 2, :3]
        assert (centre[-1] - centre[0]) @ forward > 0
