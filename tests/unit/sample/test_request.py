"""Paths and intrinsics as asked for: read, checked, and named by their source."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wmkit.camera import Array, Intrinsics, ScaleKind
from wmkit.camera_actions import action_path
from wmkit.camera_paths import SCurve
from wmkit.errors import InputError
from wmkit.sample.picture import Picture
from wmkit.sample.request import asked_intrinsics, asked_path

SIZE = (320, 200)
GOOD = [300.0, 300.0, 160.0, 100.0]


def picture(focal_35mm_mm: float | None = None) -> Picture:
    return Picture(rgb=np.zeros((SIZE[1], SIZE[0], 3), np.uint8), focal_35mm_mm=focal_35mm_mm, sha256="0")


def poses(count: int) -> Array:
    return SCurve(sway_m=0.1).sample(count, 16.0).placed((1.0, -1.5, 2.0), 30.0).world_from_cam


def npz(path: Path, **arrays: NDArray) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_actions_are_metric_and_start_at_identity() -> None:
    path = asked_path("w-40,dw-20", SIZE)
    assert (path.poses, path.fps, path.scale) == (61, 16.0, ScaleKind.METRIC)
    np.testing.assert_array_equal(path.world_from_cam, action_path("w-40,dw-20").world_from_cam)
    assert path.sha256 == hashlib.sha256(b"w-40,dw-20").hexdigest()


def test_a_file_is_taken_relative_to_its_first_camera(tmp_path: Path) -> None:
    world_from_cam = poses(5)
    path = asked_path(npz(tmp_path / "t.npz", world_from_cam=world_from_cam, time_s=np.arange(5) / 10), SIZE)
    np.testing.assert_array_equal(path.world_from_cam[0], np.eye(4))
    # float64 products of numbers of size 3
    np.testing.assert_allclose(world_from_cam[0] @ path.world_from_cam, world_from_cam, atol=1e-14)
    assert path.fps == pytest.approx(10)
    assert path.scale is ScaleKind.UP_TO_SCALE, "an .npz does not say that it is in metres"
    assert path.sha256 == hashlib.sha256((tmp_path / "t.npz").read_bytes()).hexdigest()


def test_no_times_are_the_annotator_s_rate(tmp_path: Path) -> None:
    assert asked_path(npz(tmp_path / "t.npz", world_from_cam=poses(5)), SIZE).fps == 16.0


def test_holding_repeats_the_last_pose() -> None:
    held = asked_path("w-2", SIZE).lasting(5)
    assert (len(held.world_from_cam), held.poses, held.held) == (5, 3, 2)
    np.testing.assert_array_equal(held.world_from_cam[2:], np.repeat(held.world_from_cam[2:3], 3, axis=0))


def test_a_longer_path_is_cut() -> None:
    path = asked_path("w-9", SIZE)
    cut = path.lasting(5)
    assert (len(cut.world_from_cam), cut.poses, cut.cut, cut.held) == (5, 5, 5, 0)
    np.testing.assert_array_equal(cut.world_from_cam, path.world_from_cam[:5])
    assert (path.lasting(12).lasting(8).poses, path.lasting(12).lasting(8).cut) == (8, 2)


def test_templates_and_mappings_by_name() -> None:
    path = asked_path("simple/orbit", SIZE)
    assert (path.poses, path.fps, path.scale, path.meaning) == (961, 16.0, ScaleKind.METRIC, "template")
    older = asked_path("d-4", SIZE, keys="sana-v1")
    assert older.world_from_cam[-1, 0, 3] == pytest.approx(0.2)
    assert "sana-v1: " in older.meaning
    assert "l/j yaw" in older.meaning


@pytest.mark.parametrize("convention", ["opencv-c2w", "opencv-w2c", "opengl-c2w", "opengl-w2c"])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".txt"])
def test_bare_poses_in_any_convention(tmp_path: Path, convention: str, suffix: str) -> None:
    ours = poses(5)
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    theirs = ours @ flip if "opengl" in convention else ours
    theirs = np.linalg.inv(theirs) if "w2c" in convention else theirs
    file = tmp_path / f"t{suffix}"
    match suffix:
        case ".npy":
            np.save(file, theirs)
        case ".npz":
            np.savez(file, world_from_cam=theirs)
        case _:
            np.savetxt(file, theirs[:, :3].reshape(5, 12), fmt="%.17g")
    path = asked_path(str(file), SIZE, convention=convention)
    # inverses of poses some metres off, in float64
    np.testing.assert_allclose(ours[0] @ path.world_from_cam, ours, atol=1e-12)
    assert path.meaning == f"poses as {convention}, as told"


def test_a_format_that_has_its_own_convention_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "poses.json").write_text(
        json.dumps({"metric": True, "units": "m", "frames": [
            {"file": f"{t}.png", "t": t, "K": [300, 300, 160, 100], "T_c2w": pose.tolist()}
            for t, pose in enumerate(poses(3))
        ]})
    )  # fmt: skip
    with pytest.raises(InputError, match="fixes its convention"):
        asked_path(str(tmp_path / "poses.json"), SIZE, convention="opengl-c2w")
    with pytest.raises(InputError, match="expected a trajectory file"):
        asked_path("w-4", SIZE, convention="opengl-c2w")


def test_the_benchmark_s_and_vipe_s_files(tmp_path: Path) -> None:
    c2w, K = poses(5), np.tile(np.array([[300.0, 0, 160], [0, 300, 100], [0, 0, 1]]), (5, 1, 1))
    path = asked_path(npz(tmp_path / "b.npz", c2w=c2w, intrinsics=K, fps=np.array(8), num_frames=np.array(5)), SIZE)
    assert path.fps == pytest.approx(8)
    # float64 products of numbers of size 3
    np.testing.assert_allclose(c2w[0] @ path.world_from_cam, c2w, atol=1e-14)
    whole = npz(tmp_path / "v.npz", data=c2w, inds=np.arange(5))
    assert asked_path(whole, SIZE).poses == 5
    with pytest.raises(InputError, match="between poses 1 and 2"):
        asked_path(npz(tmp_path / "g.npz", data=c2w, inds=np.array([0, 1, 3, 4, 5])), SIZE)


def test_bad_paths(tmp_path: Path) -> None:
    holes = poses(6).copy()
    holes[3] = np.nan
    times = np.array([0, 0.1, 0.2, 0.9, 1.0])
    bad = {
        "NaN": (npz(tmp_path / "nan.npz", world_from_cam=holes), "have none"),
        "one": (npz(tmp_path / "one.npz", world_from_cam=poses(1)), "at least 2 poses"),
        "gap": (npz(tmp_path / "gap.npz", world_from_cam=poses(5), time_s=times), "between poses 2 and 3"),
        "absent": ("path/to.npz", "no file"),
        "template": ("simple/orbits", "simple/orbit"),
        "actions": ("w-40,q-3", "'q-3'"),
        "empty": ("", "action"),
    }
    for name, (text, word) in bad.items():
        with pytest.raises(InputError) as caught:
            asked_path(text, SIZE)
        assert word in str(caught.value), name
        assert "\n" not in str(caught.value), name


def test_intrinsics_by_rank() -> None:
    """File, flag, EXIF, 60 degrees: the first that there is, and it is said which."""
    width, height = SIZE
    assumed = asked_intrinsics(picture(), None, None, 5)
    assert assumed.source == "fov 60 deg assumed"
    np.testing.assert_allclose(assumed.rows, [Intrinsics.from_fov(60, width, height).row])
    exif = asked_intrinsics(picture(28.0), None, None, 5)
    assert exif.source == "exif 28 mm (35 mm equivalent)"
    assert exif.rows[0, 0] == pytest.approx(28 * np.hypot(width, height) / np.hypot(36, 24))
    given = asked_intrinsics(picture(28.0), None, 90.0, 5)
    assert given.source == "fov 90 deg given"
    assert given.rows[0, 0] == pytest.approx(width / 2)


@pytest.mark.parametrize(
    "form", ["four.npy", "k.npy", "rows.npy", "ks.npy", "rows.npz", "fx.json", "four.txt", "k.txt"]
)
def test_intrinsics_of_a_file(tmp_path: Path, form: str) -> None:
    path, row = tmp_path / form, np.array(GOOD)
    K = np.array([[GOOD[0], 0, GOOD[2]], [0, GOOD[1], GOOD[3]], [0, 0, 1]])
    match form:
        case "four.npy":
            np.save(path, row)
        case "k.npy":
            np.save(path, K)
        case "rows.npy":
            np.save(path, np.tile(row, (5, 1)))
        case "ks.npy":
            np.save(path, np.tile(K, (5, 1, 1)))
        case "rows.npz":
            np.savez(path, intrinsics=np.tile(row, (5, 1)))
        case "fx.json":
            path.write_text(
                json.dumps(dict(zip(("fx", "fy", "cx", "cy", "width", "height"), [*GOOD, *SIZE], strict=True)))
            )
        case "four.txt":
            path.write_text("300, 300, 160, 100\n")
        case "k.txt":
            path.write_text("300 0 160\n0 300 100\n0 0 1\n")
    asked = asked_intrinsics(picture(), path, None, 5)
    np.testing.assert_array_equal(asked.rows, np.tile(row, (len(asked.rows), 1)))
    assert asked.source == f"file {path}"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ([600.0, 600.0, 320.0, 200.0], "principal point near the middle of the 320x200 picture"),
        ([30.0, 30.0, 160.0, 100.0], "field of view of 25 to 120"),
        ([3000.0, 3000.0, 160.0, 100.0], "field of view of 25 to 120"),
        ([-300.0, 300.0, 160.0, 100.0], "positive focal lengths"),
        ([float("nan"), 300.0, 160.0, 100.0], "finite"),
        ([[300.0, 300.0, 160.0, 100.0]] * 4, "1 row or one a pose (5)"),
        ([300.0, 300.0], "4 numbers"),
        ([[[1.0]]], "got shape"),
        ([], "got shape"),
    ],
)
def test_bad_intrinsics(tmp_path: Path, content: list, word: str) -> None:
    np.save(tmp_path / "k.npy", np.array(content))
    with pytest.raises(InputError) as caught:
        asked_intrinsics(picture(), tmp_path / "k.npy", None, 5)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_intrinsics_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_text(json.dumps({"fx": 300, "fy": 300, "cx": 160, "cy": 120, "width": 320, "height": 240}))
    with pytest.raises(InputError, match="320x200 picture, got 320x240"):
        asked_intrinsics(picture(), path, None, 5)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("k.json", "{", "expected fx fy cx cy"),
        ("k.json", '{"fx": 300}', "'fy'"),
        ("k.json", "[1, 2]", "k.json"),
        ("k.json", '{"fx": "wide", "fy": 1, "cx": 1, "cy": 1}', "wide"),
        ("k.txt", "one two three four", "one"),
        ("k.npz", "text", "k.npz"),
        ("k.npy", "", "k.npy"),
        ("k.yaml", "fx: 3", ".npy, .npz, .json or .txt"),
    ],
)
def test_files_that_are_no_intrinsics(tmp_path: Path, name: str, text: str, word: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        asked_intrinsics(picture(), tmp_path / name, None, 5)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_both_and_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got both"):
        asked_intrinsics(picture(), tmp_path / "k.npy", 60.0, 5)
    for fov_deg in (0.0, 24.9, 120.1, float("nan")):
        with pytest.raises(InputError, match="--fov-deg"):
            asked_intrinsics(picture(), None, fov_deg, 5)
    with pytest.raises(InputError, match="found none"):
        asked_intrinsics(picture(), tmp_path / "absent.npy", None, 5)
