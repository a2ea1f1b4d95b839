"""The keys drawn on a copy of a sample: which, where, when."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from wmkit.sample.keys_video import DOWN, UP, draw_keys, write_keys_video
from wmkit.video.encode import write_mp4

GREY = np.full((200, 320, 3), 128, dtype=np.uint8)
PLACE = {  # (x, y) inside each key at 200 px: side 18, gap 2
    "w": (24, 163), "a": (4, 183), "s": (24, 183), "d": (44, 183),
    "i": (282, 163), "j": (262, 183), "k": (282, 183), "l": (302, 183),
}  # fmt: skip
BLENDED = {name: 0.65 * np.array(colour) + 0.35 * 128 for name, colour in (("down", DOWN), ("up", UP))}


def lit(rgb: np.ndarray) -> set[str]:
    """Keys that are drawn as pressed; the others must be drawn as not pressed."""
    found = set()
    for key, (x, y) in PLACE.items():
        distance = {name: np.abs(rgb[y, x] - colour).max() for name, colour in BLENDED.items()}
        assert min(distance.values()) < 40, f"{key}: {rgb[y, x]}"  # H.264 and its chroma move colours a little
        found |= {key} if distance["down"] < distance["up"] else set()
    return found


@pytest.mark.parametrize("keys", ["", "w", "dw", "ijkl", "wasdijkl"])
def test_pressed_keys_are_lit(keys: str) -> None:
    assert lit(draw_keys(GREY, frozenset(keys))) == set(keys)
    assert (GREY == 128).all()


def test_the_rest_of_the_picture_is_left_alone() -> None:
    drawn = draw_keys(GREY, frozenset("w"))
    assert (drawn[:155] == 128).all()
    assert (drawn[:, 64:255] == 128).all()


@pytest.mark.parametrize("size", [(16, 16), (64, 96), (720, 1280)])
def test_any_size_has_room(size: tuple[int, int]) -> None:
    plain = np.zeros((*size, 3), dtype=np.uint8)
    none, w, i = (draw_keys(plain, frozenset(keys)) for keys in ("", "w", "i"))
    assert (none != plain).any()
    assert (w != none).any()
    assert (i != none).any()
    left, right = (np.flatnonzero((drawn != none).any(axis=(0, 2))) for drawn in (w, i))
    assert left.mean() < right.mean()


def test_each_frame_has_its_own(tmp_path: Path) -> None:
    clean, drawn = tmp_path / "x.mp4", tmp_path / "x.keys.mp4"
    write_mp4(clean, [GREY] * 4, 16.0, (320, 200))
    write_keys_video(clean, drawn, [frozenset("w"), frozenset("dw"), frozenset()], 16.0)
    video, seen = cv2.VideoCapture(str(drawn)), []
    while (read := video.read())[0]:
        seen.append(lit(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)))
    assert seen == [{"w"}, {"w", "d"}, set(), set()]
    again = tmp_path / "again.mp4"
    write_keys_video(clean, again, [frozenset("w"), frozenset("dw"), frozenset()], 16.0)
    assert again.read_bytes() == drawn.read_bytes()
