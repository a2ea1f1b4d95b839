"""Every format: what is written comes back to 1e-12, and means the same to an independent reader of the format.

"The same" is tested by the pixel a known world point lands on, worked out by each format's own rule.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from wmkit.camera import Array
from wmkit.errors import InputError
from wmkit.formats.colmap import read_colmap, write_colmap
from wmkit.formats.kitti import frames_path, read_kitti, write_kitti
from wmkit.formats.nerfstudio import read_nerfstudio, write_nerfstudio
from wmkit.formats.poses_json import read_poses_json, write_poses_json
from wmkit.formats.re10k import read_re10k, write_re10k
from wmkit.formats.track import CameraTrack, matrix_from_quaternion, quaternion_from_matrix
from wmkit.formats.tum import read_tum, write_tum
from wmkit.formats.vipe import read_vipe, write_vipe

EXACT = 1e-12  # text holds 17 digits; a quaternion and back costs a few units in the last place
POINT = np.array([1.0, -2.0, 30.0])


def same(ours: NDArray[Any] | None, theirs: NDArray[Any] | None, tolerance: float = 0.0) -> None:
    assert ours is not None
    assert theirs is not None
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def same_cameras(ours: CameraTrack, theirs: CameraTrack) -> None:
    np.testing.assert_allclose(ours.world_from_cam, theirs.world_from_cam, atol=EXACT)


def pixels(track: CameraTrack, world: Array) -> Array:
    """(N, 2): where wmkit's own convention puts a world point in each image."""
    cam = np.linalg.inv(track.world_from_cam) @ np.array([*world, 1])
    assert track.intrinsics_px is not None
    return track.intrinsics_px[:, :2] * cam[:, :2] / cam[:, 2:3] + track.intrinsics_px[:, 2:]


def test_tum(track: CameraTrack, tmp_path: Path) -> None:
    write_tum(track, tmp_path / "a.txt")
    back = read_tum(tmp_path / "a.txt")
    same_cameras(back, track)
    same(back.time_s, track.time_s)


def test_tum_in_evo(track: CameraTrack, tmp_path: Path) -> None:
    from evo.tools import file_interface

    write_tum(track, tmp_path / "a.txt")
    theirs = file_interface.read_tum_trajectory_file(str(tmp_path / "a.txt"))
    same(theirs.timestamps, track.time_s)
    np.testing.assert_allclose(np.array(theirs.poses_se3), track.world_from_cam, atol=EXACT)


def test_tum_written_by_evo(track: CameraTrack, tmp_path: Path) -> None:
    from evo.core.trajectory import PoseTrajectory3D
    from evo.tools import file_interface

    theirs = PoseTrajectory3D(poses_se3=list(track.world_from_cam), timestamps=track.time_s)
    file_interface.write_tum_trajectory_file(str(tmp_path / "a.txt"), theirs)
    same_cameras(read_tum(tmp_path / "a.txt"), track)


def test_kitti(track: CameraTrack, tmp_path: Path) -> None:
    write_kitti(track, tmp_path / "a.txt")
    back = read_kitti(tmp_path / "a.txt")
    same(back.world_from_cam, track.world_from_cam)
    same(back.frame, track.frame)
    same(back.time_s, track.time_s)
    frames_path(tmp_path / "a.txt").unlink()
    assert read_kitti(tmp_path / "a.txt").frame is None


def test_kitti_in_evo(track: CameraTrack, tmp_path: Path) -> None:
    from evo.tools import file_interface

    write_kitti(track, tmp_path / "a.txt")
    theirs = file_interface.read_kitti_poses_file(str(tmp_path / "a.txt"))
    np.testing.assert_array_equal(np.array(theirs.poses_se3), track.world_from_cam)


def test_re10k(track: CameraTrack, tmp_path: Path) -> None:
    write_re10k(track, tmp_path / "a.txt", "walks/one two.mp4\n")
    back = read_re10k(tmp_path / "a.txt", 640, 360)
    same_cameras(back, track)
    same(back.time_s, track.time_s, 0.5e-6)  # whole microseconds
    same(back.intrinsics_px, track.intrinsics_px, 1e-13)
    assert (tmp_path / "a.txt").read_text().startswith("walks/one two.mp4\n0 ")


def test_re10k_by_its_own_rule(track: CameraTrack, tmp_path: Path) -> None:
    write_re10k(track, tmp_path / "a.txt", "title")
    for row, pixel in zip(np.loadtxt(tmp_path / "a.txt", skiprows=1), pixels(track, POINT), strict=True):
        fx, fy, cx, cy = row[1:5]
        assert (row[5:7] == 0).all()
        x, y, z = row[7:].reshape(3, 4) @ [*POINT, 1]  # world to camera
        np.testing.assert_allclose([640 * (fx * x / z + cx), 360 * (fy * y / z + cy)], pixel, rtol=1e-10)


def test_nerfstudio(track: CameraTrack, tmp_path: Path) -> None:
    write_nerfstudio(track, tmp_path)
    back = read_nerfstudio(tmp_path / "transforms.json")
    same(back.world_from_cam, track.world_from_cam)
    same(back.intrinsics_px, track.intrinsics_px)
    same(back.size_px, track.size_px)
    same(back.time_s, track.time_s)
    assert back.names == track.names
    assert back.metric is True


def test_nerfstudio_by_its_own_rule(track: CameraTrack, tmp_path: Path) -> None:
    """Camera y up and z back, so a point ahead has negative z and image rows grow against y; points from the PLY."""
    write_nerfstudio(track, tmp_path)
    document = json.loads((tmp_path / "transforms.json").read_text())
    lines = (tmp_path / document["ply_file_path"]).read_text().splitlines()
    ply = np.array([line.split() for line in lines[lines.index("end_header") + 1 :]], dtype=np.float64)
    assert track.points is not None
    for point, row in zip(track.points.xyz, ply, strict=True):
        for index, frame in enumerate(document["frames"]):
            x, y, z = (np.linalg.inv(frame["transform_matrix"]) @ [*row[:3], 1])[:3]
            pixel = [frame["fl_x"] * x / -z + frame["cx"], frame["fl_y"] * -y / -z + frame["cy"]]
            np.testing.assert_allclose(pixel, pixels(track, point)[index], rtol=1e-9)
    applied = np.array(document["applied_transform"])
    np.testing.assert_allclose(ply[:, :3], track.points.xyz @ applied[:, :3].T + applied[:, 3])
    np.testing.assert_array_equal(applied @ [0, -1, 0, 0], [0, 0, 1])  # a level camera's up is the file's +Z


def test_nerfstudio_without_applied_transform_and_with_global_intrinsics(tmp_path: Path) -> None:
    c2w = np.eye(4).tolist()
    document: dict[str, object] = {"fl_x": 100, "fl_y": 110, "cx": 32, "cy": 24, "w": 64, "h": 48}
    document["frames"] = [{"file_path": "images/a.png", "transform_matrix": c2w}]
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    back = read_nerfstudio(tmp_path / "transforms.json")
    same(back.world_from_cam, np.diag([1.0, -1, -1, 1])[None])
    same(back.intrinsics_px, np.array([[100, 110, 32, 24]]))
    assert back.time_s is None


def test_vipe(track: CameraTrack, tmp_path: Path) -> None:
    write_vipe(track, tmp_path, "a__b")
    back = read_vipe(tmp_path, "a__b", 640, 360)
    same(back.world_from_cam, track.world_from_cam)
    same(back.intrinsics_px, track.intrinsics_px)
    same(back.frame, track.frame)


def test_vipe_by_its_readers_rules(track: CameraTrack, tmp_path: Path) -> None:
    """As vipe/utils/io.py reads: data and inds of two npz, one `index: TYPE` line a row."""
    write_vipe(track, tmp_path, "a")
    with np.load(tmp_path / "pose" / "a.npz") as pose, np.load(tmp_path / "intrinsics" / "a.npz") as rows:
        np.testing.assert_array_equal(pose["inds"], rows["inds"])
        for index in range(len(track)):
            x, y, z = (np.linalg.inv(pose["data"][index]) @ [*POINT, 1])[:3]
            fx, fy, cx, cy = rows["data"][index]
            np.testing.assert_allclose([fx * x / z + cx, fy * y / z + cy], pixels(track, POINT)[index], rtol=1e-10)
    types = (tmp_path / "intrinsics" / "a_camera.txt").read_text().splitlines()
    assert [line.split(":")[1].strip() for line in types] == ["PINHOLE"] * len(track)


def test_poses_json(track: CameraTrack, tmp_path: Path) -> None:
    write_poses_json(track, tmp_path / "poses.json")
    back = read_poses_json(tmp_path / "poses.json")
    same(back.world_from_cam, track.world_from_cam)
    same(back.time_s, track.time_s)
    same(back.intrinsics_px, track.intrinsics_px)
    assert (back.names, back.metric) == (track.names, True)


@pytest.mark.parametrize("name", ["fox", "icl_livingroom", "kitti06_gray", "sevenscenes_kitchen", "strecha_fountain11"])
def test_real_references_agree_with_their_tum_files(shared_data: Path, name: str) -> None:
    reference = read_poses_json(shared_data / "posed" / name / "poses.json")
    tum = read_tum(shared_data / "posed" / name / "poses_tum.txt")
    np.testing.assert_allclose(tum.world_from_cam, reference.world_from_cam, atol=2e-8)  # the files hold 9 digits
    assert reference.metric == (name != "fox")


def test_colmap(track: CameraTrack, tmp_path: Path) -> None:
    write_colmap(track, tmp_path)
    back = read_colmap(tmp_path)
    same_cameras(back, track)
    same(back.intrinsics_px, track.intrinsics_px)
    same(back.size_px, track.size_px)
    assert back.names == track.names
    assert back.points is not None
    assert track.points is not None
    same(back.points.xyz, track.points.xyz)
    same(back.points.rgb, track.points.rgb)
    same(back.points.error_px, track.points.error_px)


def pycolmap():
    import zlib  # noqa: F401  # before pycolmap: some import orders crash

    import pycolmap

    return pycolmap


def test_colmap_in_pycolmap(track: CameraTrack, tmp_path: Path) -> None:
    write_colmap(track, tmp_path)
    model = pycolmap().Reconstruction(str(tmp_path))
    assert (model.num_reg_images(), model.num_cameras(), model.num_rigs()) == (len(track), 2, 2)
    by_name = {image.name: image for image in model.images.values()}
    assert track.names is not None
    assert track.points is not None
    for index, name in enumerate(track.names):
        ahead = (track.world_from_cam[index] @ [0.4, -0.3, 5, 1])[:3]  # pycolmap projects nothing behind a camera
        np.testing.assert_allclose(by_name[name].project_point(ahead), pixels(track, ahead)[index], rtol=1e-10)
    np.testing.assert_array_equal([point.xyz for _, point in sorted(model.points3D.items())], track.points.xyz)


@pytest.mark.parametrize("binary", [False, True])
def test_colmap_written_by_pycolmap(track: CameraTrack, tmp_path: Path, binary: bool) -> None:
    """A model pycolmap wrote itself, with observations, reads as pycolmap sees it."""
    colmap = pycolmap()
    first, second = tmp_path / "ours", tmp_path / "theirs"
    write_colmap(track, first)
    second.mkdir()
    model = colmap.Reconstruction(str(first))
    image = model.images[1]
    image.points2D = colmap.Point2DList([colmap.Point2D(np.array([1.5, 2.5]))])
    track_of_point = colmap.Track()
    track_of_point.add_element(1, 0)
    model.add_point3D(np.ones(3), track_of_point, np.array([1, 2, 3], np.uint8))
    (model.write_binary if binary else model.write_text)(str(second))
    back = read_colmap(second)
    same_cameras(back, track)
    same(back.intrinsics_px, track.intrinsics_px)
    assert back.names == track.names
    assert back.points is not None
    lengths = {tuple(xyz): n for xyz, n in zip(back.points.xyz, back.points.track_length, strict=True)}
    assert lengths[(1.0, 1.0, 1.0)] == 1
    assert len(lengths) == 5


def test_colmap_images_come_in_name_order_whatever_their_ids(track: CameraTrack, tmp_path: Path) -> None:
    """Mappers number images as they register them; a track is in the order of its frames."""
    write_colmap(track, tmp_path)
    lines = (tmp_path / "images.txt").read_text().splitlines()
    pairs = [lines[index : index + 2] for index in range(1, len(lines), 2)]
    (tmp_path / "images.txt").write_text("\n".join(line for pair in pairs[::-1] for line in pair) + "\n")
    back = read_colmap(tmp_path)
    assert back.names == track.names
    same_cameras(back, track)


def test_vipe_frames_with_intrinsics_and_no_pose(track: CameraTrack, tmp_path: Path) -> None:
    """Intrinsics of all twelve frames, poses of six, as ViPE itself writes them."""
    write_vipe(track, tmp_path, "a")
    rows = np.column_stack([np.arange(12) + 500.0, np.full(12, 500.0), np.full(12, 320.0), np.full(12, 180.0)])
    np.savez(tmp_path / "intrinsics" / "a.npz", data=rows, inds=np.arange(12))
    back = read_vipe(tmp_path, "a", 640, 360)
    same(back.frame, track.frame)
    assert back.intrinsics_px is not None
    assert track.frame is not None
    same(back.intrinsics_px[:, 0], track.frame + 500.0)
    np.savez(tmp_path / "intrinsics" / "a.npz", data=rows[5:], inds=np.arange(5, 12))
    fewer = read_vipe(tmp_path, "a", 640, 360)
    same(fewer.world_from_cam, track.world_from_cam[3:])


def test_quaternions_survive_every_branch() -> None:
    """All four largest components and exact half turns; scipy is the independent opinion."""
    random = np.random.default_rng(0).normal(size=(500, 4))
    axes = np.concatenate([np.eye(4), -np.eye(4), [[0, 1, 1, 0], [0, 0, 1, -1], [1e-9, 1, 0, 0]]])
    wxyz = np.concatenate([random, axes])
    wxyz /= np.linalg.norm(wxyz, axis=1, keepdims=True)
    matrices = matrix_from_quaternion(wxyz)
    np.testing.assert_allclose(matrices, Rotation.from_quat(wxyz, scalar_first=True).as_matrix(), atol=1e-15)
    back = quaternion_from_matrix(matrices)
    assert (back[:, 0] >= 0).all()
    np.testing.assert_allclose(np.abs((back * wxyz).sum(axis=1)), 1, atol=1e-15)
    np.testing.assert_allclose(matrix_from_quaternion(back), matrices, atol=2e-15)


def test_two_writes_are_the_same_bytes(track: CameraTrack, tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_colmap(track, folder / "colmap")
        write_nerfstudio(track, folder / "nerfstudio")
        write_vipe(track, folder, "x")
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(names) == 10
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("write", "drop", "message"),
    [
        (write_tum, {"time_s": None}, "times"),
        (lambda t, p: write_re10k(t, p, "x"), {"size_px": None}, "image sizes"),
        (write_colmap, {"names": None}, "image names"),
        (write_colmap, {"names": ("a b.jpg",) * 6}, "without blanks"),
        (write_colmap, {"intrinsics_px": None}, "intrinsics and image sizes"),
        (write_nerfstudio, {"names": None}, "image names"),
        (lambda t, p: write_vipe(t, p, "x"), {"frame": None}, "frame indices"),
        (write_poses_json, {"metric": None}, "known unit"),
        (lambda t, p: write_re10k(t, p, "x"), {"time_s": np.arange(6) * 1e-7}, "microsecond apart"),
    ],
)
def test_writers_say_what_they_miss(track: CameraTrack, tmp_path: Path, write, drop: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write(dataclasses.replace(track, **drop), tmp_path / "out")
