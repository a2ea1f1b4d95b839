"""Given poses: matched to frames, taken as they are, refused when the images say otherwise."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.pose_worlds import LENS_CLIP, through_the_lens, write_clip
from tests.unit.annotate.pose.scenes import rotation_vector
from tests.unit.annotate.pose.test_tracks import texture
from wmkit.annotate.pose.check_given import diagnose
from wmkit.annotate.pose.follow import follow_points
from wmkit.annotate.pose.given import Given, GivenConfig, cameras_and_rows, given_config
from wmkit.annotate.pose.given_file import beside, given_cameras
from wmkit.annotate.pose.tracks import TrackConfig, track_points
from wmkit.annotate.protocols import PoseEstimate
from wmkit.camera import CameraPrior, Lens, ScaleKind, invert_rigid
from wmkit.errors import ClipError, InputError
from wmkit.formats.kitti import write_kitti
from wmkit.formats.poses_json import read_poses_json
from wmkit.formats.track import CameraTrack
from wmkit.formats.tum import write_tum
from wmkit.video import FrameSource, VideoConfig, discover, identify, open_source
from wmkit.worlds import SMALL_CLIPS, WorldClip, write_world
from wmkit.worlds.families import MemorySource

ORBIT: WorldClip = dataclasses.replace(
    SMALL_CLIPS[0], intrinsics=dataclasses.replace(SMALL_CLIPS[0].intrinsics.resized(480, 288)), frames=10
)


@dataclasses.dataclass(frozen=True)
class World:
    """A rendered clip: its frames and its exact cameras."""

    frames: FrameSource
    truth: CameraTrack
    poses: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    written = write_world(ORBIT, tmp_path_factory.mktemp("orbit"))
    return World(frames=source_of(written.video), truth=read_poses_json(written.poses), poses=written.poses)


def source_of(path: Path, fps: float | None = None) -> FrameSource:
    (found,) = discover([path]).clips
    return open_source(identify(found), VideoConfig(fps=fps))


def estimate(world: World, poses: Path, prior: CameraPrior | None = None) -> PoseEstimate:
    found = Given(given_config(str(poses))).estimate(world.frames, 0, prior)
    assert isinstance(found, PoseEstimate)
    return found


def refused(world: World, poses: Path, prior: CameraPrior | None = None) -> ClipError:
    with pytest.raises(ClipError) as caught:
        estimate(world, poses, prior)
    assert caught.value.stage == "pose"
    assert "\n" not in caught.value.message
    assert "expected" in caught.value.message or "explains" in caught.value.message
    return caught.value


def changed(world: World, folder: Path, edit: object) -> Path:
    """poses.json with `edit` applied to every frame's object."""
    document = json.loads(world.poses.read_text())
    for frame in document["frames"]:
        edit(frame)  # type: ignore[operator]
    path = folder / "poses.json"
    path.write_text(json.dumps(document))
    return path


def prior_of(focal_px: float) -> CameraPrior:
    return CameraPrior(fx=focal_px, fy=focal_px, cx=None, cy=None, sigma_log=0.01, source="test")


def test_given_poses_are_the_trajectory_bit_for_bit(world: World) -> None:
    found = estimate(world, world.poses)
    assert found.trajectory.world_from_cam.tobytes() == world.truth.world_from_cam.tobytes()
    assert found.trajectory.scale is ScaleKind.UP_TO_SCALE
    assert found.metric_hint_sigma_log == 0.02
    np.testing.assert_array_equal(found.intrinsics[0].row, ORBIT.intrinsics.row)


def test_exact_poses_have_a_small_covariance_and_evidence_that_agrees(world: World) -> None:
    found = estimate(world, world.poses)
    assert found.trajectory.covariance is not None
    sigma = np.sqrt(np.diagonal(found.trajectory.covariance[1:], axis1=1, axis2=2))
    # ten frames of 480 px, tracks good to some tenths of a px of 0.2 degrees each; a path of about a metre
    assert np.degrees(sigma[:, :3]).max() < 0.3
    assert sigma[:, 3:].max() < 0.02
    assert found.quality is not None
    assert np.nanmax(found.quality.rotation_disagreement_deg) < 0.3
    assert np.nanmedian(found.quality.reprojection_px) < 1.0
    assert np.nanmedian(found.quality.inlier_ratio) > 0.7
    features = dict(found.quality.features)
    assert features["second_posed_share"] == 1.0
    assert "scale_step" in features


def test_planted_noise_shows_in_the_covariance_and_the_evidence(world: World, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    exact = estimate(world, world.poses)

    def tremble(frame: dict) -> None:
        step = np.eye(4)
        step[:3, :3] = rotation_vector(np.radians(rng.normal(0, 0.2, 3)))
        step[:3, 3] = rng.normal(0, 0.01, 3)
        frame["T_c2w"] = (np.array(frame["T_c2w"]) @ step).tolist()

    found = estimate(world, changed(world, tmp_path, tremble))
    assert found.trajectory.covariance is not None
    sigma = np.sqrt(np.diagonal(found.trajectory.covariance[1:], axis1=1, axis2=2).mean(axis=0))
    # a pose and the first one err alike: sqrt(2) of what was planted, of ten poses only, to a factor of 1.7
    turned, moved = np.degrees(sigma[:3].mean()) / 0.2 / np.sqrt(2), sigma[3:].mean() / 0.01 / np.sqrt(2)
    assert 1 / 1.7 < turned < 1.7
    assert 1 / 1.7 < moved < 1.7
    assert found.quality is not None
    assert exact.quality is not None
    for name in ("rotation_disagreement_deg", "position_disagreement", "reprojection_px"):
        assert np.nanmedian(getattr(found.quality, name)) > 1.2 * np.nanmedian(getattr(exact.quality, name))


def test_points_are_triangulated_in_the_files_unit(world: World) -> None:
    """The room is 4 m high and the poses are in metres: its points lie on its walls, floor and furniture."""
    points = estimate(world, world.poses).points
    assert len(points) > 100
    low, high = np.percentile(points.xyz, [2, 98], axis=0)
    assert (high - low < 8).all()
    assert (high - low > 0.5).all()
    assert np.median(points.error_px) < 1.0  # px: tracks are good to some tenths
    assert points.track_length.min() >= 3


def test_points_follow_the_unit_of_the_file(world: World, tmp_path: Path) -> None:
    def halve(frame: dict) -> None:
        for row in frame["T_c2w"][:3]:
            row[3] /= 2

    half, whole = estimate(world, changed(world, tmp_path, halve)).points, estimate(world, world.poses).points
    assert len(half) == len(whole)
    np.testing.assert_allclose(half.xyz, whole.xyz / 2, rtol=1e-6, atol=1e-9)  # solved in another unit


def test_a_file_that_does_not_say_metres_gives_no_hint(world: World, tmp_path: Path) -> None:
    path = tmp_path / "poses.json"
    path.write_text(json.dumps(json.loads(world.poses.read_text()) | {"metric": False}))
    assert estimate(world, path).metric_hint_sigma_log is None


def wrong_direction(frame: dict) -> None:
    frame["T_c2w"] = invert_rigid(np.array(frame["T_c2w"])[None])[0].tolist()


def wrong_axes(frame: dict) -> None:
    frame["T_c2w"] = (np.array(frame["T_c2w"]) @ np.diag([1.0, -1, -1, 1])).tolist()


def both_wrong(frame: dict) -> None:
    wrong_axes(frame)
    wrong_direction(frame)


def transposed(frame: dict) -> None:
    matrix = np.array(frame["T_c2w"])
    matrix[:3, :3] = matrix[:3, :3].T
    frame["T_c2w"] = matrix.tolist()


def mirrored(frame: dict) -> None:
    flip = np.diag([1.0, -1, 1, 1])
    frame["T_c2w"] = (flip @ np.array(frame["T_c2w"]) @ flip).tolist()


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (wrong_direction, "wrong_direction"),
        (wrong_axes, "wrong_axes"),
        (both_wrong, "wrong_direction_and_axes"),
        (transposed, "wrong_rotation"),
        (mirrored, "wrong_handedness"),
    ],
)
def test_the_images_name_the_wrong_convention(world: World, tmp_path: Path, edit: object, code: str) -> None:
    error = refused(world, changed(world, tmp_path, edit))
    assert error.code == code
    assert "wmkit doctor" in error.message


def test_poses_of_another_motion_do_not_fit(world: World, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def lie(frame: dict) -> None:
        u, _, vt = np.linalg.svd(rng.normal(size=(3, 3)))
        rotation = u @ vt * np.linalg.det(u @ vt)
        frame["T_c2w"] = [[*row, float(t)] for row, t in zip(rotation.tolist(), rng.normal(size=3), strict=True)]
        frame["T_c2w"].append([0, 0, 0, 1])

    assert refused(world, changed(world, tmp_path, lie)).code == "poses_do_not_fit"


@pytest.mark.parametrize("kind", ["too_few", "too_many"])
def test_wrong_length_is_named(world: World, tmp_path: Path, kind: str) -> None:
    document = json.loads(world.poses.read_text())
    frames = document["frames"]
    if kind == "too_few":
        frames = frames[:4]
    else:
        frames = frames + [frame | {"t": frame["t"] + 100} for frame in frames]
    for frame in frames:
        frame["t"] = frame["t"] * 7 + 3  # their clock is no help either
    path = tmp_path / "poses.json"
    path.write_text(json.dumps(document | {"frames": frames}))
    error = refused(world, path)
    assert error.code == "wrong_length"
    assert f"got {len(frames)}" in error.message


def test_wrong_sized_intrinsics_are_named(world: World, tmp_path: Path) -> None:
    def double(frame: dict) -> None:
        frame["K"] = [2 * value for value in frame["K"]]

    assert refused(world, changed(world, tmp_path, double)).code == "off_centre"


def test_times_match_where_numbers_do_not(world: World, tmp_path: Path) -> None:
    keep = np.array([0, 1, 2, 4, 5, 6, 7, 9])
    track = dataclasses.replace(
        world.truth,
        world_from_cam=world.truth.world_from_cam[keep],
        time_s=world.frames.view.time_s[keep] + 1e9,  # a clock of its own, as loggers have
        intrinsics_px=None,
        names=None,
    )
    write_tum(track, tmp_path / "poses.txt")
    found = estimate(world, tmp_path / "poses.txt", prior_of(ORBIT.intrinsics.fx))
    assert np.flatnonzero(found.trajectory.posed).tolist() == keep.tolist()
    assert np.isnan(found.trajectory.world_from_cam[3]).all()
    assert len(found.intrinsics) == len(found.trajectory)


def test_a_source_frame_each_is_thinned_with_the_clip(world: World) -> None:
    """Half the frames are decoded: a file with a pose for each source frame still fits."""
    thin = source_of(Path(world.frames.file.path), fps=8.0)
    cameras = given_cameras(world.poses, thin)
    index = np.searchsorted(thin.facts.pts_s, thin.view.pts_s)
    assert len(index) < len(world.truth)
    np.testing.assert_array_equal(cameras.world_from_cam, world.truth.world_from_cam[index])


def test_missing_intrinsics_are_found_by_epipolar_error(world: World, tmp_path: Path) -> None:
    write_kitti(dataclasses.replace(world.truth, frame=None, time_s=None), tmp_path / "poses.txt")
    found = estimate(world, tmp_path / "poses.txt")
    # ten frames of 480 px, tracks good to some tenths of a pixel, a search to 1 %
    assert found.intrinsics[0].fx == pytest.approx(ORBIT.intrinsics.fx, rel=0.05)


def test_a_picture_that_stands_still_refutes_poses_that_move(world: World, tmp_path: Path) -> None:
    still = dataclasses.replace(world, frames=_Still(world.frames))  # type: ignore[arg-type]
    assert refused(still, world.poses).code == "poses_do_not_fit"
    write_kitti(dataclasses.replace(world.truth, frame=None, time_s=None), tmp_path / "poses.txt")
    assert refused(still, tmp_path / "poses.txt").code == "poses_do_not_fit"


def test_a_camera_that_stands_still_is_taken_and_leaves_the_focal_length_open(world: World, tmp_path: Path) -> None:
    """Nothing can be measured, and nothing is made up: no points, and a request for the intrinsics."""
    still = dataclasses.replace(world, frames=_Still(world.frames))  # type: ignore[arg-type]
    poses = np.tile(np.eye(4), (len(world.truth), 1, 1))
    write_kitti(CameraTrack(world_from_cam=poses), tmp_path / "poses.txt")
    error = refused(still, tmp_path / "poses.txt")
    assert error.code == "intrinsics_unknown"
    assert "--fov-deg" in error.message
    found = estimate(still, tmp_path / "poses.txt", prior_of(300.0))
    assert len(found.points) == 0
    assert found.trajectory.posed.all()
    assert found.trajectory.covariance is None
    assert found.quality is not None
    assert np.isnan(found.quality.reprojection_px).all()


class _Still:
    """The first frame, again and again."""

    def __init__(self, frames: FrameSource) -> None:
        self.clip, self.facts, self.view, self.file = frames.clip, frames.facts, frames.view, frames.file
        self._frames = frames

    def windows(self, size: int = 64):
        first = None
        for window in self._frames.windows(size):
            first = window.rgb[:1] if first is None else first
            yield dataclasses.replace(window, rgb=np.repeat(first, len(window.rgb), axis=0))


def test_names_match_images_in_any_order(world: World, tmp_path: Path) -> None:
    import cv2

    folder = tmp_path / "images"
    folder.mkdir()
    names = [f"view_{index:03d}.png" for index in range(len(world.truth))]
    pictures = [rgb for window in world.frames.windows() for rgb in window.rgb]
    for name, rgb in zip(names, pictures, strict=True):
        assert cv2.imwrite(str(folder / name), rgb[..., ::-1])
    document = json.loads(world.poses.read_text())
    for frame, name in zip(document["frames"], names, strict=True):
        frame["file"] = f"elsewhere/{name}"
    del document["frames"][4]
    (tmp_path / "poses.json").write_text(json.dumps(document))
    frames = source_of(folder)
    found = Given(GivenConfig(path="", digest="")).estimate(frames, 0)  # auto: it lies above the images
    assert isinstance(found, PoseEstimate)
    assert np.flatnonzero(~found.trajectory.posed).tolist() == [4]
    np.testing.assert_array_equal(found.trajectory.world_from_cam[5], world.truth.world_from_cam[5])
    for frame in document["frames"]:
        frame["file"] = "other_" + frame["file"].rpartition("_")[2]
    (tmp_path / "poses.json").write_text(json.dumps(document))
    with pytest.raises(ClipError) as caught:
        given_cameras(tmp_path / "poses.json", frames)
    assert caught.value.code == "wrong_names"


def test_auto_finds_only_documented_names(world: World) -> None:
    video = Path(world.frames.file.path)
    with pytest.raises(ClipError) as caught:
        beside(world.frames.file)
    assert caught.value.code == "no_given_poses"
    own = video.with_suffix(".poses.json")
    try:
        own.write_text("{}")
        assert beside(world.frames.file) == own
    finally:
        own.unlink()


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"metric": true, "frames": [{"file": "a"}]}', "\x00\x01"], ids=range(5)
)
def test_damaged_files_are_one_line(world: World, tmp_path: Path, content: str) -> None:
    path = tmp_path / "poses.json"
    path.write_text(content)
    assert refused(world, path).code == "bad_pose_file"


def test_a_missing_file_is_the_users_mistake() -> None:
    with pytest.raises(InputError, match="--poses"):
        given_config("nowhere.json")


def test_the_config_knows_the_content_and_not_the_place(world: World, tmp_path: Path) -> None:
    from wmkit.annotate.pipeline import config_dict

    copy = tmp_path / "copy.json"
    copy.write_bytes(world.poses.read_bytes())
    assert config_dict(given_config(str(copy))) == config_dict(given_config(str(world.poses)))
    copy.write_bytes(world.poses.read_bytes() + b"\n")
    assert config_dict(given_config(str(copy))) != config_dict(given_config(str(world.poses)))


SHORT = dataclasses.replace(LENS_CLIP, frames=10, fps=4.0)
FISHEYE = {"fl_x": 210.0, "fl_y": 210.0, "cx": 160.0, "cy": 90.0, "w": 320, "h": 180, "k1": 0.01}


@pytest.fixture(scope="module")
def bent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures through a fisheye, and transforms.json beside it."""
    root = tmp_path_factory.mktemp("bent")
    write_clip(through_the_lens(SHORT), root / "images")
    poses = SHORT.trajectory.world_from_cam @ np.diag([1.0, -1, -1, 1])
    frames = [
        {"file_path": f"images/{index:04d}.png", "transform_matrix": pose.tolist()} for index, pose in enumerate(poses)
    ]
    text = json.dumps({"camera_model": "OPENCV_FISHEYE", **FISHEYE, "frames": frames})
    (root / "transforms.json").write_text(text)
    return root


def estimate_bent(bent: Path, max_side: int) -> PoseEstimate:
    (found,) = discover([bent / "images"]).clips
    frames = open_source(identify(found), VideoConfig(fps=None, max_side=max_side))
    outcome = Given(given_config(str(bent / "transforms.json"))).estimate(frames, 0)
    assert isinstance(outcome, PoseEstimate)
    return outcome


@pytest.mark.parametrize("max_side", [960, 240])
def test_a_files_lens_is_taken_and_everything_is_in_px_of_its_pinhole(bent: Path, max_side: int) -> None:
    found = estimate_bent(bent, max_side)
    width, height = (320, 180) if max_side == 960 else (240, 135)
    lens = Lens(model="OPENCV_FISHEYE", params=(210, 210, 160, 90, 0.01, 0, 0, 0), width=320, height=180)
    lens = lens.resized(width, height)
    assert found.lens == lens
    assert set(found.intrinsics) == {lens.default_pinhole()}
    np.testing.assert_allclose(found.trajectory.world_from_cam, SHORT.trajectory.world_from_cam, atol=1e-12)
    # the points fit the straightened tracks; taken as they came they would lie tens of px off at the border
    assert len(found.points) > 100
    assert np.median(found.points.error_px) < 0.6
    camera = found.intrinsics[0]
    inside = np.zeros(len(found.points), dtype=bool)
    for pose in found.trajectory.cam_from_world:
        seen = found.points.xyz @ pose[:3, :3].T + pose[:3, 3]
        xy = seen[:, :2] / seen[:, 2:] * camera.fx + (camera.cx, camera.cy)
        inside |= (seen[:, 2] > 0) & ((xy > -40) & (xy < (width + 40, height + 40))).all(axis=1)
    assert inside.mean() > 0.95


def test_taken_for_a_pinholes_the_same_file_fits_worse(bent: Path, tmp_path: Path) -> None:
    """The check sees the distortion: the file's poses fit only once the tracks are straightened."""
    document = json.loads((bent / "transforms.json").read_text())
    del document["k1"]
    path = tmp_path / "transforms.json"
    path.write_text(json.dumps(document | {"camera_model": "OPENCV"}))
    (found,) = discover([bent / "images"]).clips
    frames = open_source(identify(found), VideoConfig(fps=None))
    cameras, rows = cameras_and_rows(path, frames, None)
    straight, their_rows = cameras_and_rows(bent / "transforms.json", frames, None)
    tracks = follow_points(frames, TrackConfig())
    worse = diagnose(cameras, cameras.straightened(tracks), rows).declared
    better = diagnose(straight, straight.straightened(tracks), their_rows).declared
    assert worse is not None
    assert better is not None
    assert better.error_px < 0.5
    assert worse.error_px > 1.5 * better.error_px


def test_points_are_followed_across_wide_steps_too() -> None:
    """A picture turned by 50 degrees at a time: no track survives it, matched features do."""
    picture = np.clip(texture(4), 0, 255).astype(np.uint8)
    height, width = picture.shape[:2]
    turns = [cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), 50 * step, 1.0) for step in range(3)]
    pictures = np.stack([np.asarray(cv2.warpAffine(picture, turn, (width, height)), np.uint8) for turn in turns])
    wide = MemorySource(pictures, 1.0)
    followed, tracked = follow_points(wide, TrackConfig()), track_points(wide, TrackConfig())
    for step in range(2):
        assert len(tracked.common(step, step + 1)[0]) < 60
        before, after = followed.common(step, step + 1)
        assert len(before) > 150
        middle = np.array([width / 2, height / 2])
        radius = [np.linalg.norm(followed.xy[k][at] - middle, axis=1) for k, at in ((step, before), (step + 1, after))]
        assert np.median(np.abs(radius[0] - radius[1])) < 0.5, "a turn about the middle keeps the distance from it"
    smooth = MemorySource(np.repeat(pictures[:1], 3, axis=0), 8.0)
    np.testing.assert_array_equal(
        follow_points(smooth, TrackConfig()).ids[2], track_points(smooth, TrackConfig()).ids[2]
    )
