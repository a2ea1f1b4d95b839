"""The ready-made clips: plausible motion, closed and clear worlds, trackable pictures, and truth kept apart."""

import functools
import json

import cv2
import numpy as np
import pytest

from wmkit.camera import Intrinsics, invert_rigid
from wmkit.errors import InputError
from wmkit.formats.poses_json import read_poses_json
from wmkit.video.discover import discover
from wmkit.worlds import DEMO_CLIPS, SMALL_CLIPS, render, write_world
from wmkit.worlds.clips import SmallRoom
from wmkit.worlds.photos import PHOTOS, load_photo

ALL = [pytest.param(clip, id=clip.name) for clip in (*DEMO_CLIPS, *SMALL_CLIPS)]
built = functools.cache(lambda scene: scene.build())  # seconds each: built once for this module
DEMO = [pytest.param(clip, id=clip.name) for clip in DEMO_CLIPS]


def median_track_error_px(clip, world, start):
    """Median distance between Lucas-Kanade tracks from frame `start` to the next and where depth says they go."""
    poses, camera = clip.sampled.world_from_cam[start : start + 2], clip.intrinsics
    first, second = render(world, camera, poses, "numpy")
    gray = [cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    corners = cv2.goodFeaturesToTrack(gray[0], 1000, 0.01, 7)
    tracked, _, _ = cv2.calcOpticalFlowPyrLK(gray[0], gray[1], corners, corners.copy(), winSize=(21, 21), maxLevel=3)
    back, _, _ = cv2.calcOpticalFlowPyrLK(gray[1], gray[0], tracked, tracked.copy(), winSize=(21, 21), maxLevel=3)
    kept = np.linalg.norm(back - corners, axis=2)[:, 0] < 0.5
    at, to = corners[kept, 0].astype(float), tracked[kept, 0]
    assert kept.sum() > 200
    pixel = np.rint(at).astype(int)
    z = first.z[pixel[:, 1], pixel[:, 0]]
    # OpenCV counts from the centre of pixel 0, wmkit from its corner.
    rays = np.linalg.inv(camera.matrix) @ np.concatenate([at.T + 0.5, np.ones((1, len(at)))])
    second_from_first = invert_rigid(poses[1]) @ poses[0]
    points = camera.matrix @ (second_from_first[:3, :3] @ (rays * z) + second_from_first[:3, 3:])
    return float(np.median(np.linalg.norm((points[:2] / points[2] - 0.5).T - to, axis=1)))


@pytest.mark.parametrize("clip", DEMO)
def test_demo_worlds_are_closed_clear_of_the_camera_and_trackable(clip):
    world = built(clip.scene)
    small = Intrinsics.from_fov(clip.intrinsics.fov_x_deg, 64, 36)
    for frame in render(world, small, clip.sampled.world_from_cam[::5], "numpy"):
        assert frame.valid.all()
        assert frame.z.min() > 0.7  # metres: nobody walks through furniture
        assert 30 < frame.rgb.mean() < 225
        assert frame.rgb.std() > 25
    # 0.06-0.17 px measured. The most is on the road at 5 m/s, where things grow by 2-9 % a frame and the tracker's
    # window does not: 0.12 px with a window of 13 px, 0.26 px with 31 px, 0.05 px where things grow by less than 1 %.
    assert median_track_error_px(clip, world, clip.frames // 2) < 0.2


@pytest.mark.parametrize("clip", ALL)
def test_motion_is_plausible(clip):
    trajectory = clip.trajectory
    speed_m_s = np.linalg.norm(np.diff(trajectory.position, axis=0), axis=1) * clip.fps
    turn = np.swapaxes(trajectory.rotation[:-1], 1, 2) @ trajectory.rotation[1:]
    turn_deg_s = np.degrees(np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1))) * clip.fps
    assert speed_m_s.max() < (8.0 if "drive" in clip.name else 2.5)
    assert turn_deg_s.max() < 60
    assert trajectory.path_length > 0.5
    assert (clip.camera_height_m > 1.0).all()


def test_demo_clips_are_short_and_all_different():
    assert len({clip.name for clip in DEMO_CLIPS}) == 4
    assert len({clip.scene for clip in DEMO_CLIPS}) == 4
    assert len({type(clip.path) for clip in DEMO_CLIPS}) == 4
    assert len({round(clip.intrinsics.fov_x_deg) for clip in DEMO_CLIPS}) == 4
    assert all(48 <= clip.frames <= 64 and clip.fps == 16 for clip in DEMO_CLIPS)
    assert {(clip.intrinsics.width, clip.intrinsics.height) for clip in DEMO_CLIPS} == {(640, 360)}


def test_camera_height_is_the_height_above_the_road():
    (drive,) = (clip for clip in DEMO_CLIPS if clip.name == "street_drive")
    assert drive.camera_height_m == pytest.approx(np.full(drive.frames, 1.6))
    (crane,) = (clip for clip in DEMO_CLIPS if clip.name == "street_crane")
    assert crane.camera_height_m[[0, -1]] == pytest.approx([1.7, 4.9])
    # The road ahead, seen: y of the ground below the image centre of the level camera is the height.
    pose = drive.sampled.world_from_cam[:1]
    (frame,) = render(built(drive.scene), drive.intrinsics, pose, "numpy")
    x, y, z = 300.5, 340.5, float(frame.z[340, 300])
    camera = drive.intrinsics
    below = (pose[0, :3, :3] @ [(x - camera.cx) / camera.fx * z, (y - camera.cy) / camera.fy * z, z])[1]
    assert below == pytest.approx(1.6, abs=1e-5)  # float32 depth of some metres


def test_a_written_clip_is_the_video_and_its_truth(tmp_path):
    clip = SMALL_CLIPS[0]
    written = write_world(clip, tmp_path / "clips", renderer="numpy")
    assert written.video == tmp_path / "clips" / "small_orbit.mp4"
    assert written.renderer == "numpy"
    video = cv2.VideoCapture(str(written.video))
    shown = [video.read()[1][..., ::-1] for _ in range(clip.frames)]
    assert not video.read()[0]
    frames = list(clip.render("numpy"))
    # H.264 at crf 18 with halved colour resolution: a few grey levels on average.
    assert np.mean([np.abs(a.astype(int) - b.rgb).mean() for a, b in zip(shown, frames, strict=True)]) < 6

    track = read_poses_json(written.poses)
    assert track.metric is True
    assert track.intrinsics_px is not None
    assert track.time_s is not None
    assert np.array_equal(track.world_from_cam, clip.sampled.world_from_cam)
    assert np.array_equal(track.intrinsics_px, np.tile(clip.intrinsics.row, (clip.frames, 1)))
    assert np.array_equal(track.time_s, np.arange(12) / 16)
    with np.load(written.depth, allow_pickle=False) as depth:
        assert depth["frame"].tolist() == [0, 4, 7, 11]
        assert np.array_equal(depth["z"][1], frames[4].z)
        assert depth["valid"].all()
    facts = json.loads(written.facts.read_text())
    assert facts["camera_height_m"] == clip.camera_height_m.tolist()
    assert facts["renderer"] == "numpy"


def test_annotate_finds_the_clip_and_not_its_truth(tmp_path):
    write_world(SMALL_CLIPS[1], tmp_path, renderer="numpy")
    found = discover([tmp_path])
    assert [clip.name for clip in found.clips] == ["small_walk.mp4"]


def test_truth_may_lie_elsewhere(tmp_path):
    written = write_world(SMALL_CLIPS[1], tmp_path / "clips", tmp_path / "answers", renderer="numpy")
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == ["small_walk.mp4"]
    assert written.poses.parent == tmp_path / "answers"


def test_worlds_are_a_function_of_their_recipe():
    same = [SmallRoom(seed=3).build() for _ in range(2)]
    other = SmallRoom(seed=4).build()
    assert same[0].quads == same[1].quads
    pixels = [[texture.rgb.tobytes() for texture in world.textures] for world in (*same, other)]
    assert pixels[0] == pixels[1]
    assert pixels[0] != pixels[2]


@pytest.mark.parametrize("name", PHOTOS)
def test_every_photo_is_in_the_wheel(name):
    photo = load_photo(name)
    assert photo.ndim == 3
    assert photo.shape[2] == 3
    assert photo.std() > 15


def test_a_photo_that_is_missing_is_named():
    with pytest.raises(InputError, match=r"nothing\.png, missing or unreadable; reinstall scikit-image"):
        load_photo("nothing.png")
