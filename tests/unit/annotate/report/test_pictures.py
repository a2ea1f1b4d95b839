import base64
import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.unit.annotate.report.samples import VIDEO, opened, posed, write_pictures
from tests.video_clips import read_number
from wmkit.annotate.report.pictures import contact_sheet, depth_preview, turbo
from wmkit.camera import ScaleKind
from wmkit.clip import DepthMap
from wmkit.video import open_source


def decoded(uri: str) -> np.ndarray:
    """RGB of a data URI."""
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), dtype=np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[:, :, ::-1]


@pytest.mark.parametrize(
    ("count", "expected"), [(3, [0, 1, 2]), (8, list(range(8))), (80, [5, 15, 25, 35, 45, 55, 65, 75])]
)
def test_thumbnails_are_the_frames_they_say(tmp_path: Path, count: int, expected: list[int]) -> None:
    file = write_pictures(tmp_path / "a", count, (256, 192), first=100)
    video = dataclasses.replace(VIDEO, max_side=256)
    annotation = posed(open_source(file, video))
    sheet = contact_sheet(annotation, [file.path], video, depth_frame=1)
    assert sheet.problem == ""
    assert [picture.frame for picture in sheet.thumbnails] == expected
    for picture in sheet.thumbnails:
        rgb = decoded(picture.uri)
        assert rgb.shape == (picture.height, picture.width, 3) == (144, 192, 3)
        assert read_number(rgb) == 100 + picture.frame
        assert picture.time_s == pytest.approx(picture.frame / 10)
    assert sheet.at_depth is not None
    assert read_number(decoded(sheet.at_depth.uri)) == 101


def test_a_portrait_thumbnail_keeps_its_shape(tmp_path: Path) -> None:
    file = write_pictures(tmp_path / "a", 3, (60, 120))
    sheet = contact_sheet(posed(opened(file)), [file.path], VIDEO)
    assert {(picture.width, picture.height) for picture in sheet.thumbnails} == {(32, 64)}


def test_a_source_that_moved_is_found_under_its_other_path(tmp_path: Path) -> None:
    file = write_pictures(tmp_path / "a", 3)
    annotation = posed(opened(file))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "a")
    assert contact_sheet(annotation, [file.path, str(tmp_path / "b")], VIDEO).thumbnails
    gone = contact_sheet(annotation, [file.path], VIDEO)
    assert (gone.thumbnails, gone.problem) == ((), "the source is gone from the path below")


def test_another_picture_is_not_passed_off_as_the_clip(tmp_path: Path) -> None:
    file = write_pictures(tmp_path / "a", 3)
    annotation = posed(opened(file))
    shutil.copy(tmp_path / "a" / "000.png", tmp_path / "a" / "002.png")
    sheet = contact_sheet(annotation, [file.path], VIDEO)
    assert (sheet.thumbnails, sheet.problem) == ((), "the source was changed since it was annotated")


def test_other_video_settings_are_noticed(tmp_path: Path) -> None:
    file = write_pictures(tmp_path / "a", 6)
    annotation = posed(opened(file))
    for other in (dataclasses.replace(VIDEO, fps=5.0), dataclasses.replace(VIDEO, max_side=32)):
        sheet = contact_sheet(annotation, [file.path], other)
        assert sheet.thumbnails == ()
        assert "other video settings" in sheet.problem


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_source_that_broke_is_said_so(tmp_path: Path, content: bytes | None) -> None:
    file = write_pictures(tmp_path / "a", 3)
    annotation = posed(opened(file))
    for path in (tmp_path / "a").iterdir():
        path.unlink() if content is None else path.write_bytes(content)
    sheet = contact_sheet(annotation, [file.path], VIDEO)
    assert sheet.thumbnails == ()
    assert sheet.problem


def test_no_listed_source_is_said(tmp_path: Path) -> None:
    annotation = posed(opened(write_pictures(tmp_path / "a", 3)))
    assert "sources.parquet" in contact_sheet(annotation, [], VIDEO).problem


def test_depth_near_is_red_far_is_blue_invalid_is_grey() -> None:
    z = np.full((1, 40, 60), 1.0, dtype=np.float32)
    z[:, :20] = 9.0
    valid = np.ones(z.shape, dtype=bool)
    valid[:, :, 40:] = False
    preview = depth_preview(DepthMap(frame=np.array([5]), z=z, valid=valid, scale=ScaleKind.METRIC))
    assert preview is not None
    assert (preview.frame, preview.maps, preview.low, preview.high) == (5, 1, 1.0, 9.0)
    assert preview.valid_share == pytest.approx(2 / 3)
    rgb = decoded(preview.uri).astype(int)
    far, near, invalid = rgb[5, 20], rgb[30, 20], rgb[20, 52]
    assert near[0] > near[2] + 60
    assert far[2] > far[0]
    assert np.ptp(invalid) < 12, "grey but for what JPEG does to colour"
    assert 100 < invalid.mean() < 170


def test_depth_without_a_valid_pixel_has_no_picture() -> None:
    z = np.ones((1, 4, 5), dtype=np.float32)
    assert depth_preview(DepthMap(frame=np.array([0]), z=z, valid=z < 0, scale=ScaleKind.METRIC)) is None


def test_depth_of_one_value_is_drawn() -> None:
    z = np.full((1, 4, 5), 3, dtype=np.float32)
    preview = depth_preview(DepthMap(frame=np.array([0]), z=z, valid=z > 0, scale=ScaleKind.METRIC))
    assert preview is not None
    assert (preview.low, preview.high) == (3.0, 3.0)


def test_turbo_has_its_published_ends() -> None:
    # Mikhailov 2019, Turbo look-up table: first entry (48, 18, 59), last (122, 4, 3).
    np.testing.assert_array_equal(turbo(np.array([[0.0, 1.0]])), [[[48, 18, 59], [122, 4, 3]]])
