"""`wmkit doctor` through the command line: real references with every wrong convention injected, and worlds."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wmkit.annotate.pose.follow import follow_points
from wmkit.annotate.pose.tracks import TrackConfig, Tracks
from wmkit.camera import invert_rigid
from wmkit.cli import main
from wmkit.formats.track import quaternion_from_matrix
from wmkit.video import FrameSource
from wmkit.worlds import SMALL_CLIPS, write_world

GL = np.diag([1.0, -1, -1, 1])
LEFT = np.diag([1.0, -1, 1, 1])
FLU = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # x forward, y left, z up


def transposed(poses: NDArray) -> NDArray:
    bent = poses.copy()
    bent[:, :3, :3] = np.swapaxes(poses[:, :3, :3], 1, 2)
    return bent


WRONG = {
    "w2c": (invert_rigid, "direction"),
    "opengl": (lambda poses: poses @ GL, "axes"),
    "flu": (lambda poses: poses @ FLU.T, "axes"),
    "w2c_opengl": (lambda poses: invert_rigid(poses @ GL), "direction+axes"),
    "transposed": (transposed, "rotation"),
    "left_handed": (lambda poses: LEFT @ poses @ LEFT, "handed"),
}
KEYS = {
    "clip", "poses", "frames", "posed", "intrinsics", "verdict", "message", "pairs", "points", "readings",
}  # fmt: skip


def doctor(capsys: pytest.CaptureFixture[str], clip: Path, poses: Path, *flags: str) -> tuple[int, dict]:
    capsys.readouterr()
    code = main(["doctor", str(clip), "--poses", str(poses), "--fps", "native", "--json", *flags])
    result = json.loads(capsys.readouterr().out)
    assert set(result) == KEYS
    assert set(result["readings"][0]) == {"name", "kind", "error_px", "in_front", "focal_px", "possible"}
    return code, result


def written(folder: Path, reference: Path, change: object) -> Path:
    document = json.loads(reference.read_text())
    poses = change(np.array([frame["T_c2w"] for frame in document["frames"]]))  # type: ignore[operator]
    for frame, pose in zip(document["frames"], poses, strict=True):
        frame["T_c2w"] = pose.tolist()
    path = folder / "poses.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(autouse=True, scope="module")
def points_followed_once() -> Iterator[None]:
    """The same pictures are tested under many files; following their points is the slow part and depends on none."""
    known: dict[str, Tracks] = {}

    def follow_once(frames: FrameSource, config: TrackConfig) -> Tracks:
        if frames.clip.id not in known:
            known[frames.clip.id] = follow_points(frames, config)
        return known[frames.clip.id]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wmkit.annotate.doctor.follow_points", follow_once)
        yield


@pytest.fixture(params=["kitti06_gray", "icl_livingroom", "strecha_fountain11"])
def sequence(shared_data: Path, request: pytest.FixtureRequest) -> Path:
    return shared_data / "posed" / request.param


def test_references_are_borne_out(sequence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = doctor(capsys, sequence / "images", sequence / "poses.json")
    assert (code, result["verdict"], result["readings"][0]["kind"]) == (0, "consistent", "declared")


@pytest.mark.parametrize("wrong", WRONG)
def test_every_wrong_convention_is_named(
    sequence: Path, tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, kind = WRONG[wrong]
    code, result = doctor(capsys, sequence / "images", written(tmp_path, sequence / "poses.json", change))
    assert (code, result["verdict"], result["readings"][0]["kind"]) == (1, "wrong", kind)


def test_swapped_quaternions_are_named(sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TUM with w first instead of last; its focal length is given, since a wrong one can bend to fit."""
    document = json.loads((sequence / "poses.json").read_text())
    poses = np.array([frame["T_c2w"] for frame in document["frames"]])
    wxyz = quaternion_from_matrix(poses[:, :3, :3])
    table = np.column_stack([[frame["t"] for frame in document["frames"]], poses[:, :3, 3], wxyz])
    np.savetxt(tmp_path / "tum.txt", table, fmt="%.17g")
    picture = cv2.imread(str(next(iter(sorted((sequence / "images").iterdir())))))
    assert picture is not None
    k = ",".join(str(value) for value in document["frames"][0]["K"])
    flag = f"{k}@{picture.shape[1]}x{picture.shape[0]}"
    code, result = doctor(capsys, sequence / "images", tmp_path / "tum.txt", "--intrinsics", flag)
    assert (code, result["verdict"], result["readings"][0]["kind"]) == (1, "wrong", "quaternion")


@pytest.mark.parametrize("clip", SMALL_CLIPS, ids=lambda clip: clip.name)
def test_worlds_and_their_wrong_conventions(clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = write_world(clip, tmp_path / "clip")
    code, result = doctor(capsys, world.video, world.poses)
    assert code == 0
    assert result["verdict"] in ("consistent", "undecidable")
    refuted = 0
    for change, kind in WRONG.values():
        path = written(tmp_path, world.poses, change)
        code, result = doctor(capsys, world.video, path)
        possible = {row["kind"] for row in result["readings"] if row["possible"]}
        assert kind in possible, "the true reading is never ruled out"
        assert code == (1 if result["verdict"] == "wrong" else 0)
        refuted += code
    assert refuted >= 4, "160 px wide and twelve frames short, and still most lies are found out"


def test_motion_along_the_line_of_sight_is_undecidable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A straight dolly: the camera rolled by any angle would see the same epipolar lines."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform([-4, -3, 4], [4, 3, 12], (500, 3))
    (tmp_path / "images").mkdir()
    frames = []
    for index in range(6):
        picture = np.full((240, 320, 3), 128, np.uint8)
        at = xyz - [0, 0, 0.15 * index]
        for (x, y), shade in zip(250 * at[:, :2] / at[:, 2:] + [160, 120], rng.permutation(500) % 200, strict=True):
            cv2.circle(picture, (round(x * 16 - 8), round(y * 16 - 8)), 40, (int(shade),) * 3, -1, cv2.LINE_AA, 4)
        rng = np.random.default_rng(1)  # the same shades in every frame
        cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), picture)
        pose = np.eye(4)
        pose[2, 3] = 0.15 * index
        frames.append({"file": f"{index}.png", "t": index, "K": [250, 250, 160, 120], "T_c2w": pose.tolist()})
    path = tmp_path / "poses.json"
    path.write_text(json.dumps({"units": "m", "metric": True, "frames": frames}))
    code, result = doctor(capsys, tmp_path / "images", path)
    assert (code, result["verdict"]) == (0, "undecidable")
    assert sum(row["possible"] for row in result["readings"]) > 1


def test_a_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = write_world(SMALL_CLIPS[0], tmp_path)
    assert main(["doctor", str(world.video), "--poses", str(world.poses)]) == 0
    out = capsys.readouterr().out
    assert "error px" in out
    assert "as declared" in out


def test_wrong_usage_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = write_world(SMALL_CLIPS[0], tmp_path)
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    for poses in (bad, tmp_path / "none.json"):
        assert main(["doctor", str(world.video), "--poses", str(poses)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
