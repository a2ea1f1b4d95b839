"""`read_trajectory` told one format from another, and what it says of a file it cannot use."""

import json
from pathlib import Path

import numpy as np
import pytest

from wmkit.camera_actions import action_path
from wmkit.errors import InputError
from wmkit.formats.any import read_trajectory
from wmkit.formats.colmap import write_colmap
from wmkit.formats.kitti import write_kitti
from wmkit.formats.nerfstudio import write_nerfstudio
from wmkit.formats.poses_json import write_poses_json
from wmkit.formats.re10k import write_re10k
from wmkit.formats.track import CameraTrack
from wmkit.formats.tum import write_tum

N = 6
TIME_S = np.arange(N) / 16
INTRINSICS = np.tile([300.0, 310.0, 160.0, 120.0], (N, 1))
NAN_FRAME = {"file": "a", "t": 0, "T_c2w": [[float("nan")] * 4] * 4}
TOLERANCE = 1e-12  # text holds every digit; TUM and COLMAP pass through a quaternion, which costs the last few


def track() -> CameraTrack:
    """Six cameras that walk and turn, with everything any format asks for."""
    path = action_path(f"dw-{N}").trajectory()
    return CameraTrack(
        world_from_cam=path.world_from_cam[:N],
        frame=np.arange(N),
        time_s=TIME_S,
        intrinsics_px=INTRINSICS,
        size_px=np.tile([320, 240], (N, 1)),
        names=tuple(f"frame_{index:06d}.jpg" for index in range(N)),
        metric=True,
    )


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def written(kind: str, folder: Path) -> Path:
    match kind:
        case "npz":
            cameras = track()
            return save(
                folder / "x.npz",
                world_from_cam=cameras.world_from_cam,
                posed=np.ones(N, np.bool_),
                time_s=cameras.time_s,
                intrinsics=cameras.intrinsics_px,
            )
        case "poses":
            write_poses_json(track(), folder / "poses.json")
            return folder / "poses.json"
        case "nerfstudio":
            write_nerfstudio(track(), folder)
            return folder / "transforms.json"
        case "tum":
            write_tum(track(), folder / "x.txt")
        case "kitti":
            write_kitti(track(), folder / "x.txt")
        case "re10k":
            write_re10k(track(), folder / "x.txt", "https://example.org/watch?v=a b c")
        case "colmap":
            write_colmap(track(), folder / "model")
            return folder / "model"
        case "sparse":
            write_colmap(track(), folder / "model" / "sparse" / "0")
            return folder / "model"
    return folder / "x.txt"


@pytest.mark.parametrize("kind", ["npz", "poses", "nerfstudio", "tum", "kitti", "re10k", "colmap", "sparse"])
def test_each_format_is_told_by_name_or_content(kind: str, tmp_path: Path) -> None:
    read = read_trajectory(written(kind, tmp_path))
    np.testing.assert_allclose(read.world_from_cam, track().world_from_cam, atol=TOLERANCE)
    if kind not in ("colmap", "sparse"):  # COLMAP has no times
        assert read.time_s is not None
        np.testing.assert_allclose(read.time_s, TIME_S, atol=1e-6)  # RE10K: whole microseconds
    assert read.metric is (True if kind in ("poses", "nerfstudio") else None)


def test_re10k_gives_intrinsics_only_for_a_known_size(tmp_path: Path) -> None:
    path = written("re10k", tmp_path)
    assert read_trajectory(path).intrinsics_px is None
    read = read_trajectory(path, size_px=(320, 240))
    assert read.intrinsics_px is not None
    np.testing.assert_allclose(read.intrinsics_px, INTRINSICS, rtol=1e-12)  # divided and multiplied


def test_npz_is_exact_and_needs_only_poses(tmp_path: Path) -> None:
    poses = track().world_from_cam
    read = read_trajectory(save(tmp_path / "x.npz", world_from_cam=poses))
    np.testing.assert_array_equal(read.world_from_cam, poses)
    assert read.time_s is None
    assert read.intrinsics_px is None


def test_npz_of_float32_is_made_orthonormal_again(tmp_path: Path) -> None:
    poses = track().world_from_cam.astype(np.float32)
    read = read_trajectory(save(tmp_path / "x.npz", world_from_cam=poses))
    np.testing.assert_allclose(read.world_from_cam, poses, atol=1e-6)  # float32 digits
    assert (
        np.abs(read.world_from_cam[:, :3, :3] @ np.swapaxes(read.world_from_cam[:, :3, :3], 1, 2) - np.eye(3)).max()
        < TOLERANCE
    )


def bad_npz(kind: str, path: Path) -> Path:
    poses = np.array(track().world_from_cam)
    match kind:
        case "nan":
            poses[2] = np.nan
        case "unposed":
            return save(path, world_from_cam=poses, posed=np.arange(N) != 3)
        case "posed_shape":
            return save(path, world_from_cam=poses, posed=np.ones(N - 1, np.bool_))
        case "one":
            poses = poses[:1]
        case "none":
            poses = poses[:0]
        case "transposed":
            poses = np.swapaxes(poses, 1, 2) + np.eye(4) * 0
            poses[:, 3, 0] = 1.0
        case "scaled":
            poses[:, :3, :3] *= 2
        case "shape":
            poses = poses[:, :3]
        case "text":
            return save(path, world_from_cam=np.array(["a", "b"]))
        case "key":
            return save(path, extrinsics=poses)
        case "object":
            return save(path, world_from_cam=np.array([{}, {}], dtype=object))
        case "times":
            return save(path, world_from_cam=poses, time_s=np.zeros(N))
        case "cut":
            save(path, world_from_cam=poses)
            path.write_bytes(path.read_bytes()[:200])
            return path
    return save(path, world_from_cam=poses)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nan", "finite pose in every frame, but 1 of 6 have none (first: frame 2)"),
        ("unposed", "first: frame 3"),
        ("posed_shape", "6 booleans"),
        ("one", "at least 2 poses, got 1"),
        ("none", "at least one frame, got none"),
        ("transposed", "0 0 0 1"),
        ("scaled", "orthonormal"),
        ("shape", "(N, 4, 4)"),
        ("text", "numbers of shape"),
        ("key", "world_from_cam, got extrinsics"),
        ("object", "without pickled objects"),
        ("times", "strictly increasing"),
        ("cut", "readable .npz"),
    ],
)
def test_a_bad_npz_is_one_line_naming_the_file(kind: str, said: str, tmp_path: Path) -> None:
    path = bad_npz(kind, tmp_path / "x.npz")
    with pytest.raises(InputError) as caught:
        read_trajectory(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_what_is_no_array_is_not_told_to_be_unpickled(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"xx")
    with pytest.raises(
        InputError, match=r"a damaged file or one with objects; write it again with numpy\.save"
    ) as caught:
        read_trajectory(tmp_path / name)
    assert "pickle" not in str(caught.value).replace("without pickled objects", "")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "1,2", "extension '.csv'"),
        ("x", "1 2", "extension 'of none'"),
        ("x.txt", "", "got 0 fields"),
        ("x.txt", "1 2 3\n", "got 3 fields"),
        ("x.txt", "0 0 0 0 0 0 0 1\n", "at least 2 poses, got 1"),
        ("x.txt", "0 0 0 0 0 0 0 1\n1 nan 0 0 0 0 0 1\n", "finite"),
        ("x.json", "[1]", "JSON object"),
        ("x.json", json.dumps({"frames": []}), "T_c2w"),
        ("x.json", json.dumps({"metric": True, "frames": [NAN_FRAME]}), "finite"),
        ("x.npz", "no zip", "readable .npz"),
    ],
)
def test_other_bad_files_are_one_line(name: str, content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_trajectory(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_an_empty_folder_and_a_nameless_array(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_trajectory(tmp_path / "nowhere.npz")
    with pytest.raises(InputError, match="COLMAP model"):
        read_trajectory(tmp_path)
    with (tmp_path / "bare.npz").open("wb") as stream:
        np.save(stream, track().world_from_cam)
    with pytest.raises(InputError, match="without a name"):
        read_trajectory(tmp_path / "bare.npz")
