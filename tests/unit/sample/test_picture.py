"""The first frame: decoded upright, with the focal length its metadata tells."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from wmkit.errors import InputError
from wmkit.sample.picture import read_picture
from wmkit.video.image_header import exif_focal_35mm, exif_orientation


def exif_block(order: str, focal_mm: int | None, orientation: int = 1) -> bytes:
    """A TIFF with an orientation and an EXIF directory that holds the 35 mm focal length."""
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HI", 42, 8)
    first = struct.pack(order + "H", 2)
    first += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    first += struct.pack(order + "HHII", 0x8769, 4, 1, 8 + 2 + 24 + 4)
    first += struct.pack(order + "I", 0)
    entries = [] if focal_mm is None else [struct.pack(order + "HHIHH", 0xA405, 3, 1, focal_mm, 0)]
    return head + first + struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", 0)


def jpeg(path: Path, width: int, height: int, exif: bytes = b"") -> Path:
    """A red left half, with an APP1 segment if there is EXIF."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2] = (0, 0, 255)  # BGR
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    if exif:
        body = b"Exif\0\0" + exif
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_focal_length_of_exif(order: str) -> None:
    block = exif_block(order, 28, 6)
    assert exif_focal_35mm(block) == 28
    assert exif_focal_35mm(b"Exif\0\0" + block) == 28
    assert exif_orientation(block) == 6
    assert exif_focal_35mm(exif_block(order, 0)) is None, "zero is EXIF's word for unknown"
    assert exif_focal_35mm(exif_block(order, None)) is None
    for length in range(len(block)):  # cut anywhere: no number is made up
        assert exif_focal_35mm(block[:length]) in (None, 28)
    assert exif_focal_35mm(b"") is None


def test_focal_length_in_px_is_by_the_diagonal(tmp_path: Path) -> None:
    picture = read_picture(jpeg(tmp_path / "a.jpg", 360, 240, exif_block("<", 36)))
    assert picture.size == (360, 240)
    # 3:2 like the film: 36 mm on 36 mm of width is the width in px, and 53.13 degrees.
    assert picture.focal_px == pytest.approx(360)


def test_without_exif_nothing_is_known(tmp_path: Path) -> None:
    picture = read_picture(jpeg(tmp_path / "a.jpg", 36, 24))
    assert (picture.focal_35mm_mm, picture.focal_px) == (None, None)
    assert picture.rgb[12, 5, 0] > 200, "RGB, not BGR"


@pytest.mark.parametrize(("orientation", "size", "red"), [(1, (40, 24), "left"), (3, (40, 24), "right"),
                                                          (6, (24, 40), "top"), (8, (24, 40), "bottom")])  # fmt: skip
def test_it_is_turned_upright(tmp_path: Path, orientation: int, size: tuple[int, int], red: str) -> None:
    picture = read_picture(jpeg(tmp_path / "a.jpg", 40, 24, exif_block(">", 50, orientation)))
    assert picture.size == size
    w, h = size
    places = {"left": (h // 2, 4), "right": (h // 2, w - 5), "top": (4, w // 2), "bottom": (h - 5, w // 2)}
    reds = {name: int(picture.rgb[place][0]) for name, place in places.items()}
    assert max(reds, key=lambda name: reds[name]) == red


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40], ids=["empty", "text", "png"]
)
def test_what_is_no_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"does not decode|100000000 px"):
        read_picture(path)


def test_a_mirrored_or_missing_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mirror"):
        read_picture(jpeg(tmp_path / "a.jpg", 40, 24, exif_block("<", 50, 2)))
    with pytest.raises(InputError, match="No such file"):
        read_picture(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="directory"):
        read_picture(tmp_path)


def test_a_header_that_claims_a_giant(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 60_000, 60_000) + b"\0" * 20)
    with pytest.raises(InputError, match="60000x60000"):
        read_picture(path)
