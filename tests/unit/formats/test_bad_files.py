"""Damaged files: one clear line that names the file and, in text, the line."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wmkit.camera import Lens
from wmkit.errors import InputError
from wmkit.formats.colmap import read_colmap, write_colmap
from wmkit.formats.kitti import frames_path, read_kitti
from wmkit.formats.nerfstudio import read_nerfstudio, write_nerfstudio
from wmkit.formats.poses_json import read_poses_json, write_poses_json
from wmkit.formats.re10k import read_re10k, write_re10k
from wmkit.formats.track import CameraTrack
from wmkit.formats.tum import read_tum, write_tum
from wmkit.formats.vipe import read_vipe, write_vipe

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0"


def read_re10k_vga(path: Path) -> CameraTrack:
    return read_re10k(path, 640, 480)


LENS_PARAMS = {
    "SIMPLE_RADIAL": (500.0, 320.0, 180.0, -0.1),
    "RADIAL": (500.0, 320.0, 180.0, -0.1, 0.02),
    "OPENCV": (500.0, 505.0, 320.0, 180.0, -0.1, 0.02, 0.001, -0.002),
    "SIMPLE_RADIAL_FISHEYE": (400.0, 320.0, 180.0, 0.02),
    "RADIAL_FISHEYE": (400.0, 320.0, 180.0, 0.02, -0.01),
    "OPENCV_FISHEYE": (400.0, 405.0, 320.0, 180.0, 0.02, -0.01, 0.001, 0.0),
}


def nerfstudio(*frames: dict, **document: object) -> str:
    """transforms.json of a camera at the origin, two frames with what differs in each, and what holds for all."""
    camera = {"fl_x": 500.0, "fl_y": 500.0, "cx": 320.0, "cy": 180.0, "w": 640, "h": 360}
    rows = [{"transform_matrix": np.eye(4).tolist(), **frame} for frame in frames or ({}, {})]
    return json.dumps({**camera, **document, "frames": rows})


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_tum, "", "at least one line of 8 numbers"),
        (read_tum, "# only a comment\n", "at least one line of 8 numbers"),
        (read_tum, "# c\n0 1 2 3 0 0 0 1\n1 1 2 3 0 0 1\n", "a.txt:3: expected 8 numbers"),
        (read_tum, "0 1 2 x 0 0 0 1\n", "a.txt:1: expected numbers"),
        (read_tum, "0 1 2 nan 0 0 0 1\n", "a.txt:1: expected finite numbers"),
        (read_tum, "0 1 2 3 0 0 0 0\n", "a.txt: expected unit quaternions"),
        (read_tum, "1 1 2 3 0 0 0 1\n1 1 2 3 0 0 0 1\n", "a.txt: time_s: expected finite, strictly increasing"),
        (read_kitti, "1 2 3\n", "a.txt:1: expected 12 numbers"),
        (read_kitti, f"{IDENTITY}\n{IDENTITY.replace('1', '2')}\n", "a.txt: expected rotations, but camera 1"),
        (read_kitti, f"-{IDENTITY}\n", "a.txt: expected rotations"),
        (read_re10k_vga, "url only\n", "a.txt: expected a line for the video"),
        (read_re10k_vga, f"url\n0 1 1 .5 .5 0 0 {IDENTITY}\n5 1 1 .5 .5\n", "a.txt:3: expected 19 numbers"),
        (read_re10k_vga, f"url\n0 0 1 .5 .5 0 0 {IDENTITY}\n", "positive focal lengths"),
        (read_poses_json, "{", "a.txt:1: expected JSON"),
        (read_poses_json, "[]", "expected a JSON object"),
        (read_poses_json, '{"metric": true, "frames": []}', "non-empty list 'frames'"),
        (read_poses_json, '{"frames": [{"file": "a"}]}', "'metric' to be true or false"),
        (read_poses_json, '{"metric": true, "frames": [{}]}', "'file' name"),
        (read_poses_json, '{"metric": true, "frames": [{"file": "a", "T_c2w": [[1]]}]}', "frame 0: expected 'T_c2w'"),
        (read_poses_json, '{"metric": true, "frames": [{"file": "a", "T_c2w": "x"}]}', "frame 0: expected numbers"),
        (read_nerfstudio, '{"frames": [3]}', "'frames' of objects"),
        (
            read_nerfstudio,
            '{"camera_model": "EQUIRECTANGULAR", "frames": [{}]}',
            "the camera_model OPENCV, OPENC",
        ),
        (read_nerfstudio, nerfstudio(k3=0.1), "frame 0: expected no k3 with camera_model OPENCV; undistort first"),
        (read_nerfstudio, nerfstudio(camera_model="PINHOLE", k1=0.1), "no k1 with camera_model PINHOLE"),
        (read_nerfstudio, nerfstudio({"k1": 0.1}, {"k1": 0.2}), "one lens for all frames, got 2"),
        (read_nerfstudio, nerfstudio({"k1": "a"}, {}), "a number 'k1'"),
        (read_nerfstudio, '{"frames": [{"transform_matrix": [[1]]}]}', "frame 0: expected a finite 4x4"),
        (read_nerfstudio, json.dumps({"frames": [{"transform_matrix": np.eye(4).tolist()}]}), "a number 'fl_x'"),
    ],
)
def test_damaged_text(tmp_path: Path, read: Callable[[Path], CameraTrack], text: str, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert "a.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_tum, read_kitti, read_re10k_vga, read_poses_json, read_nerfstudio])
def test_missing_and_binary_files(tmp_path: Path, read: Callable[[Path], CameraTrack]) -> None:
    with pytest.raises(InputError, match="found none"):
        read(tmp_path / "nothing")
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="readable text file"):
        read(tmp_path / "bytes")
    with pytest.raises(InputError, match=r"readable text file"):
        read(tmp_path)


def test_kitti_with_a_frames_file_of_another_length(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{IDENTITY}\n")
    frames_path(tmp_path / "a.txt").parent.mkdir()
    frames_path(tmp_path / "a.txt").write_text("0 0\n1 0.5\n")
    with pytest.raises(InputError, match="expected 1 lines"):
        read_kitti(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cameras.txt", "1 PINHOLE 640\n", "cameras.txt:1: expected CAMERA_ID"),
        ("cameras.txt", "1 FISHEYE 640 480 1 2 3 4\n", "cameras.txt:1: expected one of the camera models"),
        ("cameras.txt", "1 FULL_OPENCV 640 480 500 500 320 240 0.1 0 0 0 0 0 0 0\n", "undistorted FULL_OPENCV"),
        ("cameras.txt", "1 RADIAL 640 480 500 320 240 0.1\n", "cameras.txt:1: lens: expected 5 finite parameters"),
        (
            "cameras.txt",
            "1 SIMPLE_RADIAL 640 360 500 320 180 0.1\n2 SIMPLE_RADIAL 640 360 500 320 180 0.2\n",
            "one lens for all images, got 2; run colmap image_undistorter first",
        ),
        ("cameras.txt", "1 PINHOLE 640 480 500 500 320\n", "undistorted PINHOLE"),
        ("cameras.txt", "9 PINHOLE 640 480 500 500 320 240\n", "a camera for every image"),
        ("images.txt", "# none\n", "at least one registered image"),
        ("images.txt", "1 1 0 0 0 0 0 0 1\n\n", "images.txt:1: expected IMAGE_ID"),
        ("images.txt", "1 1 0 0 0 0 0 zero 1 a.jpg\n\n", "images.txt:1: expected numbers"),
        ("points3D.txt", "1 0 0 0 1 2 3\n", "points3D.txt:1: expected POINT3D_ID"),
        ("points3D.txt", "1 0 0 0 1 2 300 0.5\n", "colours from 0 to 255"),
    ],
)
def test_damaged_colmap_text(track: CameraTrack, tmp_path: Path, name: str, text: str, message: str) -> None:
    write_colmap(track, tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_colmap(tmp_path)


def test_colmap_of_distortion_zero_is_a_pinhole(track: CameraTrack, tmp_path: Path) -> None:
    write_colmap(track, tmp_path)
    (tmp_path / "cameras.txt").write_text("1 OPENCV 640 360 1 2 3 4 0 0 0 0\n2 SIMPLE_RADIAL 640 360 5 6 7 0\n")
    rows = read_colmap(tmp_path).intrinsics_px
    assert rows is not None
    np.testing.assert_array_equal(rows, [[1, 2, 3, 4]] * 3 + [[5, 5, 6, 7]] * 3)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("model", LENS_PARAMS)
def test_colmap_of_a_lens(track: CameraTrack, tmp_path: Path, model: str, binary: bool) -> None:
    """The lens is kept, and the rows are the pinhole that its frames are undistorted to; poses are what they were."""
    import zlib  # noqa: F401  # before pycolmap: some import orders crash

    import pycolmap

    write_colmap(track, tmp_path)
    params = LENS_PARAMS[model]
    line = f"{model} 640 360 {' '.join(str(value) for value in params)}"
    (tmp_path / "cameras.txt").write_text(f"1 {line}\n2 {line}\n")
    folder = tmp_path
    if binary:
        folder = tmp_path / "binary"
        folder.mkdir()
        pycolmap.Reconstruction(str(tmp_path)).write_binary(str(folder))
    read = read_colmap(folder)
    assert read.lens == Lens(model=model, params=params, width=640, height=360)
    assert read.lens is not None
    assert set(read.intrinsics()) == {read.lens.default_pinhole()}
    np.testing.assert_allclose(read.world_from_cam, track.world_from_cam, rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", ["OPENCV", "OPENCV_FISHEYE"])
def test_nerfstudio_of_a_lens(tmp_path: Path, model: str) -> None:
    path = tmp_path / "transforms.json"
    terms = ("k1", "k2", "p1", "p2") if model == "OPENCV" else ("k1", "k2", "k3", "k4")
    coefficients = LENS_PARAMS[model][4:]
    path.write_text(nerfstudio(camera_model=model, **dict(zip(terms, coefficients, strict=True))))
    read = read_nerfstudio(path)
    expected = Lens(model=model, params=(500.0, 500.0, 320.0, 180.0, *coefficients), width=640, height=360)
    assert read.lens == expected
    assert set(read.intrinsics()) == {expected.default_pinhole()}


def test_a_track_of_a_lens_has_its_pinhole(track: CameraTrack) -> None:
    lens = Lens(model="RADIAL", params=LENS_PARAMS["RADIAL"], width=640, height=360)
    with pytest.raises(InputError, match="default pinhole in every row"):
        dataclasses.replace(track, lens=lens)


def test_truncated_colmap_binary(track: CameraTrack, tmp_path: Path) -> None:
    import zlib  # noqa: F401  # before pycolmap: some import orders crash

    import pycolmap

    (tmp_path / "text").mkdir()
    write_colmap(track, tmp_path / "text")
    with pytest.raises(InputError, match="found neither"):
        read_colmap(tmp_path)
    pycolmap.Reconstruction(str(tmp_path / "text")).write_binary(str(tmp_path))
    whole = (tmp_path / "images.bin").read_bytes()
    for size in (4, 60, len(whole) - 1):
        (tmp_path / "images.bin").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"images\.bin: expected .* offset"):
            read_colmap(tmp_path)


def test_damaged_vipe(track: CameraTrack, tmp_path: Path) -> None:
    write_vipe(track, tmp_path, "a")
    types = tmp_path / "intrinsics" / "a_camera.txt"
    types.write_text("0: PINHOLE\n1: MEI\n")
    with pytest.raises(InputError, match=r"a_camera\.txt:2: expected 'index: PINHOLE'"):
        read_vipe(tmp_path, "a", 640, 360)
    types.unlink()  # ViPE's reader takes a missing file for pinhole
    assert len(read_vipe(tmp_path, "a", 640, 360)) == len(track)
    pose = tmp_path / "pose" / "a.npz"
    np.savez(pose, data=np.zeros((2, 4, 4)))
    with pytest.raises(InputError, match="'data' and 'inds'"):
        read_vipe(tmp_path, "a", 640, 360)
    pose.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match="an npz"):
        read_vipe(tmp_path, "a", 640, 360)
    np.savez(pose, data=np.full((1, 4, 4), np.nan), inds=[0])
    with pytest.raises(InputError, match="one finite"):
        read_vipe(tmp_path, "a", 640, 360)
    np.savez(pose, data=np.eye(4)[None], inds=[777])
    with pytest.raises(InputError, match="frames with pose and intrinsics"):
        read_vipe(tmp_path, "a", 640, 360)
    with pytest.raises(InputError, match="found none"):
        read_vipe(tmp_path, "b", 640, 360)


@pytest.mark.parametrize(
    "write",
    [
        lambda t, p: write_tum(t, p / "a.txt"),
        lambda t, p: write_re10k(t, p / "a.txt", "x"),
        lambda t, p: write_poses_json(t, p / "a.json"),
        write_colmap,
        write_nerfstudio,
        lambda t, p: write_vipe(t, p, "a"),
    ],
)
def test_writing_where_a_file_is_in_the_way(track: CameraTrack, tmp_path: Path, write) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="writable path"):
        write(track, tmp_path / "file" / "below")


def test_rerun_missing_is_one_clear_line(track: CameraTrack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from wmkit.formats.rerun import write_rerun

    monkeypatch.setitem(sys.modules, "rerun", None)  # what Python itself does for a blocked import
    with pytest.raises(InputError, match=r"pip install 'wmkit\[rerun\]'"):
        write_rerun(track, tmp_path / "a.rrd", "a")


def test_rerun_recording(track: CameraTrack, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="needs the extra wmkit[rerun]")
    from wmkit.formats.rerun import write_rerun

    write_rerun(track, tmp_path / "below" / "a.rrd", "a")
    assert (tmp_path / "below" / "a.rrd").read_bytes()[:4] in (b"RRF2", b"RRIO")
