"""References: what is read, how it is matched to frames, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from tests.annotate_doubles import annotation_of
from tests.bench_doubles import arc, sequence, write_poses
from wmkit.bench.reference import Fixes, Reference, match, read_reference
from wmkit.camera import ScaleKind
from wmkit.errors import InputError
from wmkit.formats.track import quaternion_from_matrix

GPS = "t_s,east_m,north_m,up_m\n0.0,0,0,5\n0.1,1,2,5\n0.2,2,4,5\n"


def axis_turn(axis: int, angle_deg: float) -> np.ndarray:
    """Rotation (3, 3) about one axis."""
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    other = [index for index in range(3) if index != axis]
    rotation = np.eye(3)
    rotation[np.ix_(other, other)] = [[cos, -sin], [sin, cos]] if axis != 1 else [[cos, sin], [-sin, cos]]
    return rotation


def test_images_are_matched_by_name_whatever_their_order(tmp_path: Path) -> None:
    write_poses(tmp_path, arc(4))
    reference = read_reference(tmp_path)
    assert reference.image_folder == "images"
    truth = match(reference, ("0002.png", "0099.png", "0001.png"), annotation_of(arc(3)))
    assert truth.position is truth.rotation
    assert truth.position is not None
    assert truth.position.posed.tolist() == [True, False, True]
    assert truth.position.scale is ScaleKind.METRIC
    np.testing.assert_array_equal(truth.position.position[[0, 2]], arc(4)[[2, 1], :3, 3])
    assert truth.intrinsics_px is not None
    assert np.isnan(truth.intrinsics_px[1]).all()
    assert truth.intrinsics_px[2].tolist() == [40, 40, 24, 16]


def test_a_video_is_matched_by_index_when_counts_agree_else_by_time(tmp_path: Path) -> None:
    write_poses(tmp_path, arc(6))  # at 16 frames a second
    reference = read_reference(tmp_path)
    equal = match(reference, (), annotation_of(arc(6), fps=25.0)).position
    assert equal is not None
    np.testing.assert_array_equal(equal.position, arc(6)[:, :3, 3])
    sparse = match(reference, (), annotation_of(arc(4), fps=8.0)).position
    assert sparse is not None  # every second pose; the fourth frame is at 0.375 s, the last pose at 0.3125 s
    assert sparse.posed.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(sparse.position[:3], arc(6)[[0, 2, 4], :3, 3])


def test_a_reference_that_is_not_metric_says_so(tmp_path: Path) -> None:
    write_poses(tmp_path, arc(2), metric=False)
    truth = match(read_reference(tmp_path), (), annotation_of(arc(2)))
    assert truth.position is not None
    assert truth.position.scale is ScaleKind.UP_TO_SCALE


def test_two_images_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    path = write_poses(tmp_path, arc(2))
    path.write_text(path.read_text().replace("images/0001.png", "right/0000.png"))
    with pytest.raises(InputError, match="twice"):
        match(read_reference(tmp_path), ("0000.png",), annotation_of(arc(2)))


def test_gps_is_interpolated_inside_its_span_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "gps.csv").write_text(GPS)
    truth = match(read_reference(tmp_path), (), annotation_of(arc(7), fps=20.0))  # every 0.05 s to 0.30 s
    assert truth.rotation is None
    assert truth.horizontal is not None
    assert truth.position is not None
    assert truth.position.posed.tolist() == [True] * 5 + [False] * 2
    expected = np.array([[0, 0, 5], [0.5, 1, 5], [1, 2, 5], [1.5, 3, 5], [2, 4, 5]])
    np.testing.assert_allclose(truth.position.position[:5], expected, atol=1e-12)  # float64 rounding of the shares


def test_gps_gaps_of_more_than_a_second_are_not_bridged() -> None:
    fixes = Fixes(position=np.arange(9.0).reshape(3, 3), time_s=np.array([0.0, 0.5, 2.0]))
    truth = match(Reference(files=("gps.csv",), fixes=fixes), (), annotation_of(arc(5), fps=2.0))
    assert truth.position is not None
    assert truth.position.posed.tolist() == [True, True, False, False, True]


def test_gps_of_named_images(tmp_path: Path) -> None:
    (tmp_path / "gps.csv").write_text("file,lat_deg,east_m,north_m,up_m\n01.jpg,55,0,0,0\n02.jpg,55,1,2,3\n")
    truth = match(read_reference(tmp_path), ("00.jpg", "02.jpg"), annotation_of(arc(2)))
    assert truth.position is not None
    assert truth.position.posed.tolist() == [False, True]
    assert truth.position.position[1].tolist() == [1, 2, 3]


def test_orientation_follows_the_telemetry_convention(tmp_path: Path) -> None:
    """conj(q_i) q_j, q = CORI IORI, is the inverse of camera j in camera i for small turns from the start."""
    body = [axis_turn(0, 3.0 * index) for index in range(3)]
    image = [axis_turn(1, -1.0 * index) for index in range(3)]
    rows = ["frame,t_s,cori_w,cori_x,cori_y,cori_z,iori_w,iori_x,iori_y,iori_z"]
    wxyz = np.hstack([quaternion_from_matrix(np.array(body)), quaternion_from_matrix(np.array(image))])
    rows += [f"{index},{index / 10}," + ",".join(map(repr, row)) for index, row in enumerate(wxyz.tolist())]
    (tmp_path / "orientation.csv").write_text("\n".join(rows) + "\n")
    truth = match(read_reference(tmp_path), (), annotation_of(arc(3)))
    assert truth.position is None
    assert truth.rotation is not None
    rotation = truth.rotation.rotation
    for index in range(3):
        np.testing.assert_allclose(rotation[index], (body[index] @ image[index]).T, atol=1e-12)
    relative, telemetry = rotation[0].T @ rotation[2], (body[0] @ image[0]).T @ body[2] @ image[2]
    np.testing.assert_allclose(relative, telemetry.T, atol=1e-12)


def test_orientation_rows_further_than_half_a_frame_are_not_used(tmp_path: Path) -> None:
    head = "t_s,cori_w,cori_x,cori_y,cori_z,iori_w,iori_x,iori_y,iori_z\n"
    (tmp_path / "orientation.csv").write_text(head + "0.04,1,0,0,0,1,0,0,0\n0.16,1,0,0,0,1,0,0,0\n")
    truth = match(read_reference(tmp_path), (), annotation_of(arc(3), fps=10.0))
    assert truth.rotation is not None
    assert truth.rotation.posed.tolist() == [True, False, True]


def test_poses_win_over_sensors(tmp_path: Path) -> None:
    folder = sequence(tmp_path)
    (folder / "gps.csv").write_text("not even a table")
    assert read_reference(folder).files == ("poses.json",)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gps.csv", "t_s,east_m,north_m\n0,0,0\n1,1,1\n", "up_m"),
        ("gps.csv", "t_s,east_m,north_m,up_m\n0,0,0,0\n0,1,1,1\n", "increasing"),
        ("gps.csv", "t_s,east_m,north_m,up_m\n0,0,0,0\n1,1,one,1\n", "'one'"),
        ("gps.csv", "t_s,east_m,north_m,up_m\n0,0,0,0\n1,1\n", "row 2"),
        ("gps.csv", "t_s,east_m,north_m,up_m\n0,0,0,0\n1,1,nan,1\n", "finite"),
        ("gps.csv", "t_s,east_m,north_m,up_m\n0,0,0,0\n", "2 rows"),
        ("gps.csv", "", "2 rows"),
        ("orientation.csv", "t_s,cori_w\n0,1\n1,1\n", "cori_x"),
        ("poses.json", "{}", "frames"),
    ],
)
def test_malformed_references_are_refused_by_name(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_reference(tmp_path)
    assert name in str(caught.value)


def test_a_folder_without_reference_and_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"poses\.json, gps\.csv or orientation\.csv"):
        read_reference(tmp_path)
    with pytest.raises(InputError, match="expected a folder"):
        read_reference(tmp_path / "nowhere")


def test_a_reference_of_other_images_matches_nothing(tmp_path: Path) -> None:
    write_poses(tmp_path, arc(3))
    with pytest.raises(InputError, match="none matches"):
        match(read_reference(tmp_path), ("a.png", "b.png"), annotation_of(arc(2)))
