"""Folders of images: order, times, orientation, and what is wrong with some."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.video_clips import Picture, clip_file, numbered_picture, read_number
from wmkit.errors import ClipError
from wmkit.video import ClipFile, DecodeLimits, VideoConfig, discover, identify, open_source
from wmkit.video.image_header import exif_orientation, image_size

SIZE = (160, 96)


def exif_with(orientation: int, order: str = "<") -> bytes:
    """An EXIF block of one entry, tag 274."""
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(order + "HHIHH", 274, 3, 1, orientation, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4)


def save(path: Path, picture: Picture, orientation: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    assert done
    content = data.tobytes()
    if orientation is not None:
        block = b"Exif\0\0" + exif_with(orientation)
        content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]
    path.write_bytes(content)


def sequence(
    folder: Path, count: int = 5, suffix: str = ".png", orientation: int | None = None, turn: int = 0
) -> ClipFile:
    names = []
    for number in range(count):
        names.append(f"{number}{suffix}")
        save(folder / names[-1], np.rot90(numbered_picture(number, *SIZE), turn), orientation)
    return clip_file(folder, tuple(names))


def code_of(file: ClipFile, config: VideoConfig = VideoConfig()) -> str:
    with pytest.raises(ClipError) as caught:
        open_source(file, config)
    assert caught.value.stage == "decode"
    return caught.value.code


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_frames_and_times(tmp_path: Path, suffix: str) -> None:
    source = open_source(sequence(tmp_path / "seq", suffix=suffix), VideoConfig(image_fps=8.0))
    pictures = [picture for window in source.windows() for picture in window.rgb]
    assert [read_number(picture) for picture in pictures] == list(range(5))
    np.testing.assert_array_equal(source.view.pts_s, np.arange(5) / 8)
    assert source.facts.decoder == source.view.decoder == "images"
    if suffix in (".png", ".bmp"):
        np.testing.assert_array_equal(pictures[3], numbered_picture(3, *SIZE))


def test_sampled_to_a_lower_rate(tmp_path: Path) -> None:
    source = open_source(sequence(tmp_path / "seq", count=13), VideoConfig(image_fps=30.0, fps=10.0))
    numbers = [read_number(picture) for window in source.windows() for picture in window.rgb]
    assert numbers == [0, 3, 6, 9, 12]


@pytest.mark.parametrize(("orientation", "clockwise_deg"), [(None, 0), (1, 0), (3, 180), (6, 90), (8, 270)])
def test_exif_orientation(tmp_path: Path, orientation: int | None, clockwise_deg: int) -> None:
    file = sequence(tmp_path / "seq", suffix=".jpg", orientation=orientation, turn=clockwise_deg // 90)
    source = open_source(file, VideoConfig())
    assert source.facts.rotation_deg == clockwise_deg
    assert (source.clip.width, source.clip.height) == SIZE
    assert [read_number(picture) for window in source.windows() for picture in window.rgb] == list(range(5))


@pytest.mark.parametrize("orientation", [2, 4, 5, 7])
def test_mirrored_images_are_refused(tmp_path: Path, orientation: int) -> None:
    assert code_of(sequence(tmp_path / "seq", suffix=".jpg", orientation=orientation)) == "mirrored"


def test_mixed_sizes_and_orientations(tmp_path: Path) -> None:
    file = sequence(tmp_path / "seq", suffix=".jpg")
    save(tmp_path / "seq" / "3.jpg", numbered_picture(3, 80, 48))
    assert code_of(file) == "mixed_sizes"
    save(tmp_path / "seq" / "3.jpg", numbered_picture(3, *SIZE), orientation=3)
    assert code_of(file) == "mixed_sizes"


def test_gray_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    file = sequence(tmp_path / "seq", count=2)
    gray = numbered_picture(0, *SIZE)[..., 1]
    cv2.imwrite(str(tmp_path / "seq" / "0.png"), gray)
    clear = np.dstack([numbered_picture(1, *SIZE)[..., ::-1], np.full(SIZE[::-1], 7, np.uint8)])
    cv2.imwrite(str(tmp_path / "seq" / "1.png"), clear)
    window = next(open_source(file, VideoConfig()).windows())
    np.testing.assert_array_equal(window.rgb[0], np.dstack([gray] * 3))
    np.testing.assert_array_equal(window.rgb[1], numbered_picture(1, *SIZE))


def test_a_bad_image_leaves_its_time_slot_empty(tmp_path: Path) -> None:
    file = sequence(tmp_path / "seq")
    (tmp_path / "seq" / "1.png").write_bytes(b"no image")
    (tmp_path / "seq" / "2.png").write_bytes(b"")
    (tmp_path / "seq" / "3.png").unlink()
    source = open_source(file, VideoConfig())
    np.testing.assert_array_equal(source.view.pts_s, np.array([0, 4]) / 16)
    assert source.facts.errors == (
        "1.png: not an image that decodes",
        "2.png: 0 bytes",
        "3.png: No such file or directory",
    )
    assert [read_number(picture) for window in source.windows() for picture in window.rgb] == [0, 4]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_a_truncated_image_is_not_half_a_picture(tmp_path: Path, suffix: str) -> None:
    file = sequence(tmp_path / "seq", suffix=suffix)
    path = tmp_path / "seq" / f"2{suffix}"
    path.write_bytes(path.read_bytes()[:-40])
    source = open_source(file, VideoConfig())
    assert source.facts.errors == (f"2{suffix}: not an image that decodes",)
    assert len(source.view) == 4


def test_no_image_at_all(tmp_path: Path) -> None:
    file = sequence(tmp_path / "seq", count=2)
    for name in file.images:
        (tmp_path / "seq" / name).write_bytes(b"no image")
    assert code_of(file) == "zero_frames"


def test_an_image_exchanged_between_the_passes(tmp_path: Path) -> None:
    file = sequence(tmp_path / "seq")
    source = open_source(file, VideoConfig())
    save(tmp_path / "seq" / "3.png", numbered_picture(3, 80, 48))
    with pytest.raises(ClipError) as caught:
        list(source.windows())
    assert caught.value.code == "file_changed"


def test_limits(tmp_path: Path) -> None:
    file = sequence(tmp_path / "seq")
    assert code_of(file, VideoConfig(limits=DecodeLimits(max_pixels=160 * 96 - 1))) == "too_many_pixels"
    assert code_of(file, VideoConfig(limits=DecodeLimits(max_source_frames=4))) == "too_many_frames"


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """60000 x 60000 px of zeros in a few bytes: the size is read before anything is allocated."""
    file = sequence(tmp_path / "seq", count=2)
    header = struct.pack(">II5B", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "seq" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    assert code_of(file) == "too_many_pixels"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_image_size_reads_headers(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"a{suffix}", numbered_picture(0, 77, 33), orientation=6 if suffix == ".jpg" else None)
    data = (tmp_path / f"a{suffix}").read_bytes()
    assert image_size(data) == (77, 33)
    assert image_size(data[:10]) is None
    assert image_size(b"") is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_blocks(order: str) -> None:
    assert exif_orientation(exif_with(6, order)) == 6
    assert exif_orientation(b"Exif\0\0" + exif_with(8, order)) == 8
    assert exif_orientation(exif_with(9, order)) is None
    for length in range(len(exif_with(6, order)) - 4):
        assert exif_orientation(exif_with(6, order)[:length]) in (None, 6)


def test_from_discovery_to_frames(shared_data: Path) -> None:
    """The unpadded sequence with gaps comes in numeric order, one position a frame."""
    (found,) = discover([shared_data / "awkward" / "seq_gaps_unpadded"]).clips
    source = open_source(identify(found), VideoConfig())
    assert found.images == ("1.jpg", "2.jpg", "3.jpg", "5.jpg", "8.jpg", "9.jpg", "10.jpg", "11.jpg")
    assert len(source.view) == 8
