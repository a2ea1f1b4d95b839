"""Places seen again and what a video loses towards its end."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from wmkit.camera import ScaleKind, Trajectory
from wmkit.evaluate.pictures import MOST_PAIRS, PICTURE_FIGURES, picture_figures, psnr_db, revisit_pairs, ssim
from wmkit.video.frames import FrameWindow

RNG = np.random.default_rng(0)
PICTURE = np.asarray(cv2.resize(RNG.integers(0, 255, (24, 32, 3), dtype=np.uint8), (128, 96)), np.uint8)


@dataclass
class Shown:
    """Frames as a source gives them, in windows of five."""

    frames: list[np.ndarray]

    def windows(self) -> Iterator[FrameWindow]:
        for start in range(0, len(self.frames), 5):
            rgb = np.stack(self.frames[start : start + 5])
            time_s = np.arange(start, start + len(rgb)) / 4
            yield FrameWindow(start=start, rgb=rgb, time_s=time_s)


def there_and_back(steps: int, scale: ScaleKind = ScaleKind.METRIC, turned: bool = False) -> Trajectory:
    """Right by 0.3 a frame and the same way back; turned: looking behind on the way back."""
    x = 0.3 * np.abs(np.arange(-steps, steps + 1) + 0.0)
    poses = np.tile(np.eye(4), (len(x), 1, 1))
    poses[:, 0, 3] = 0.3 * steps - x
    if turned:
        poses[steps + 1 :, [0, 2], [0, 2]] = -1
    return Trajectory(
        world_from_cam=poses, time_s=np.arange(len(x)) / 4, posed=np.ones(len(x), dtype=np.bool_), scale=scale
    )


def test_a_place_is_one_that_was_left_meanwhile() -> None:
    path = there_and_back(6)
    pairs = revisit_pairs(path)
    assert len(pairs) == MOST_PAIRS
    assert all(path.position[i] == pytest.approx(path.position[j]) and i + j == 12 for i, j in pairs)
    assert all(j - i >= 4 for i, j in pairs), "near the turning point it never was half a metre away"
    assert revisit_pairs(there_and_back(6, turned=True)) == ()
    assert revisit_pairs(there_and_back(1)) == ()


def test_a_place_that_changed_is_told_from_one_that_did_not() -> None:
    path = there_and_back(6)
    other = np.ascontiguousarray(PICTURE[::-1])
    same = picture_figures(Shown([PICTURE] * 13), path)[0]  # type: ignore[arg-type]
    changed = picture_figures(Shown([PICTURE] * 7 + [other] * 6), path)[0]  # type: ignore[arg-type]
    assert (same["revisit_psnr"].value, same["revisit_ssim"].value) == (100.0, pytest.approx(1))
    assert changed["revisit_psnr"].value < 20
    assert changed["revisit_ssim"].value < 0.5
    assert same["revisit_psnr"].count == MOST_PAIRS


def test_an_end_that_blurs_and_fades() -> None:
    blurred = np.asarray(cv2.GaussianBlur(PICTURE, (0, 0), 3))
    faded = (128 + 0.5 * (PICTURE.astype(float) - 128)).astype(np.uint8)
    path = there_and_back(6)
    kept, soft, pale = (
        picture_figures(Shown([PICTURE] * 7 + [end] * 6), path)[0]  # type: ignore[arg-type]
        for end in (PICTURE, blurred, faded)
    )
    assert (kept["sharpness_drop"].value, kept["contrast_drop"].value) == (0, 0)
    assert soft["sharpness_drop"].value > 4
    assert pale["contrast_drop"].value == pytest.approx(1, abs=0.02)  # half of it, but for rounding to whole levels
    assert pale["sharpness_drop"].value == pytest.approx(2, abs=0.1)  # mean squares


def test_what_cannot_be_measured_says_why() -> None:
    grey = [np.full((96, 128, 3), 80, dtype=np.uint8)] * 13
    found, reasons = picture_figures(Shown(grey), there_and_back(6, ScaleKind.UP_TO_SCALE))  # type: ignore[arg-type]
    assert found == {}
    assert set(reasons) == set(PICTURE_FIGURES)
    assert "not said to be the metre" in reasons["revisit_psnr"]
    assert "of one colour" in reasons["sharpness_drop"]
    assert "comes back nowhere" in picture_figures(Shown(grey[:3]), there_and_back(1))[1]["revisit_ssim"]  # type: ignore[arg-type]


def test_psnr_and_ssim_against_their_formulas() -> None:
    off = np.clip(PICTURE.astype(int) + 10, 0, 255).astype(np.uint8)
    flat, brighter = np.full((32, 32, 3), 100, dtype=np.uint8), np.full((32, 32, 3), 110, dtype=np.uint8)
    assert psnr_db(flat, brighter) == pytest.approx(10 * np.log10(255**2 / 100))
    c1 = (0.01 * 255) ** 2
    assert ssim(flat, brighter) == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1), abs=1e-5)
    assert 0.9 < ssim(PICTURE, off) < 1
    noise = RNG.integers(0, 255, PICTURE.shape, dtype=np.uint8)
    assert ssim(PICTURE, noise) < 0.2
