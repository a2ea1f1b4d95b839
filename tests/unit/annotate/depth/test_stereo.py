"""The pixel work against slow twins written from the definitions, and checks whose answer is known by geometry."""

import numpy as np
import pytest

from wmkit.annotate.depth.confidence import EVIDENCE, VOTES, WEIGHTS, evidence, log_odds, probability
from wmkit.annotate.depth.stereo import (
    COST_ONE,
    PosedGray,
    Winner,
    aggregate,
    agreement,
    cost_volume,
    left_right,
    relative_sigma,
    winner,
)
from wmkit.camera import Intrinsics

CAMERA = Intrinsics(fx=60.0, fy=60.0, cx=24.0, cy=16.0, width=48, height=32)


def view(gray: np.ndarray, x: float = 0.0, z: float = 0.0) -> PosedGray:
    """A camera at (x, 0, z) that looks along z."""
    pose = np.eye(4)
    pose[:3, 3] = -x, 0, -z
    return PosedGray(gray=gray.astype(np.float32), camera=CAMERA, cam_from_world=pose)


def slow_aggregate(volume: np.ndarray, gray: np.ndarray, small: int, large: float) -> np.ndarray:
    """Hirschmüller's recursion, pixel by pixel, path by path."""
    count, height, width = volume.shape
    total = np.zeros(volume.shape, dtype=np.int64)
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    for dy, dx in steps:
        path = np.zeros(volume.shape, dtype=np.int64)
        rows = range(height) if dy >= 0 else range(height - 1, -1, -1)
        columns = range(width) if dx >= 0 else range(width - 1, -1, -1)
        for y in rows:
            for x in columns:
                y0, x0 = y - dy, x - dx
                if not (0 <= y0 < height and 0 <= x0 < width):
                    path[:, y, x] = volume[:, y, x]
                    continue
                jump = int(max(large / (1 + abs(float(gray[y, x]) - float(gray[y0, x0])) / 16), small))
                before = path[:, y0, x0] - path[:, y0, x0].min()
                for plane in range(count):
                    ways = [before[plane], jump]
                    ways += [before[other] + small for other in (plane - 1, plane + 1) if 0 <= other < count]
                    path[plane, y, x] = volume[plane, y, x] + min(ways)
        total += path
    return total


def test_aggregation_is_the_recursion_s_own() -> None:
    rng = np.random.default_rng(0)
    volume = rng.integers(0, COST_ONE + 1, (6, 7, 9), dtype=np.uint8)
    gray = rng.uniform(0, 255, (7, 9)).astype(np.float32)
    got = aggregate(volume, gray, 0.1, 0.9)
    np.testing.assert_array_equal(got, slow_aggregate(volume, gray, 10, 90.0))


def test_the_dearest_path_fits_the_type() -> None:
    """All costs at their greatest but for one plane whose neighbours are far: nothing may wrap round."""
    volume = np.full((8, 6, 6), COST_ONE, dtype=np.uint8)
    volume[0] = 0
    gray = np.zeros((6, 6), dtype=np.float32)
    got = aggregate(volume, gray, 0.4, 1.0)
    np.testing.assert_array_equal(got, slow_aggregate(volume, gray, 40, 100.0))


def test_the_winner_is_the_cheapest_with_its_parabola() -> None:
    total = np.full((9, 1, 2), 100, dtype=np.uint16)
    total[3:6, 0, 0] = 30, 10, 20
    total[0, 0, 1] = 5  # the first plane never counts as inside
    found = winner(total, np.full((9, 1, 2), 50, dtype=np.uint8))
    assert found.index[0].tolist() == [4, 0]
    assert found.inner[0].tolist() == [True, False]
    assert found.fraction[0, 0] == pytest.approx((30 - 20) / (2 * (30 - 20 + 20)))  # vertex of 30, 10, 20
    assert found.unique[0, 0] == pytest.approx(10.0)  # 100 over 10: planes 2 to 6 are left out
    assert found.photo[0, 0] == pytest.approx(0.5)


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A near patch before a far wall: left and right picture, and true inverse depth seen from the left."""
    rng = np.random.default_rng(1)
    wall, patch = rng.uniform(0, 255, (32, 80)), rng.uniform(0, 255, (32, 80))
    inverse = np.full((32, 48), 0.25)
    inverse[8:24, 16:32] = 0.5
    left = wall[:, 10:58].copy()
    left[8:24, 16:32] = patch[8:24, 16:32]
    right = wall[:, 13:61].copy()  # 0.2 * 60 * 0.25 = 3 px
    right[8:24, 10:26] = patch[8:24, 16:32]  # 6 px
    return left, right, inverse


def test_left_right_tells_what_only_one_camera_sees() -> None:
    left, right, inverse = scene()
    reference, other = view(left), view(right, x=0.2)
    planes = np.linspace(1 / 12, 2 / 3, 8)  # one px each: 0.25 is plane 2, 0.5 plane 5
    volume = cost_volume(reference, [other], planes, 3)
    total = aggregate(volume, left.astype(np.float32), 0.1, 0.9)
    truth = np.rint((inverse - planes[0]) / (planes[1] - planes[0])).astype(np.int64)
    said = left_right(total, truth, (reference, other), planes)
    assert (said[10:22, 36:44] == 1).mean() > 0.9  # wall that both see
    assert (said[10:22, 18:30] == 1).mean() > 0.9  # patch
    # Left of the patch's place in the right picture the wall is hidden from it: 3 columns of the left picture.
    assert (said[10:22, 13:16] == -1).mean() > 0.9
    assert (said[10:22, :2] == 0).all()  # outside the right picture
    wrong = left_right(total, np.full_like(truth, 7), (reference, other), planes)
    assert (wrong[10:22, 36:44] == -1).mean() > 0.9


def test_depth_is_vague_where_the_camera_goes() -> None:
    gray = np.zeros((32, 48))
    aside = relative_sigma(view(gray), [view(gray, x=0.1)], np.full((32, 48), 0.5))
    # 0.1 * 60 * 0.5 = 3 px of shift for all of 1/z, so 0.25 px of match are a twelfth.
    np.testing.assert_allclose(aside[:, 8:], 0.25 / 3, rtol=1e-3)
    ahead = relative_sigma(view(gray), [view(gray, z=0.1)], np.full((32, 48), 0.5))
    assert ahead[15:17, 23:25].min() > 5 * ahead[2, 2]


def test_agreement_confirms_contradicts_or_keeps_silent() -> None:
    z = np.full((32, 48), 2.0, dtype=np.float32)
    here, there = view(z), view(z, x=0.1)
    assert (agreement(here, z, there, z, 0.05)[:, 4:] == 1).all()
    assert (agreement(here, z, there, z * 2, 0.05)[:, 4:] == -1).all()
    assert (agreement(here, z, there, z * 0.5, 0.05) == 0).all()  # hidden behind something nearer
    assert (agreement(here, z, there, z * 0, 0.05) == 0).all()  # unknown
    assert (agreement(here, z, there, z, 0.05)[:, :2] == 0).all()  # outside


def test_confidence_falls_with_every_bad_sign() -> None:
    assert len(WEIGHTS) == len(EVIDENCE) + len(VOTES)
    shape = (5, 5)

    def odds(unique: float = 2.0, sigma: float = 0.01, checks: int = 1, step: float = 0.0) -> float:
        flat = np.zeros(shape, dtype=np.float32)
        found = Winner(
            index=np.zeros(shape, dtype=np.int64),
            fraction=flat,
            photo=flat + 0.2,
            unique=flat + unique,
            inner=flat == 0,
        )
        inverse = np.full(shape, 0.5)
        inverse[:, 3:] += step
        said = np.full((2, *shape), checks, dtype=np.int8)
        return float(log_odds(evidence(found, said, flat + sigma, inverse))[2, 2])

    usual = odds()
    assert odds(unique=1.1) < usual
    assert odds(sigma=0.1) < usual
    assert odds(checks=-1) < usual
    assert odds(step=0.2) < usual
    rows = np.full((1, 3), usual, dtype=np.float32)
    contradicted, silent, confirmed = probability(rows, np.array([[-1, 0, 1]], dtype=np.int8))[0]
    assert 0 < contradicted < silent < confirmed < 1
    assert silent == pytest.approx(1 / (1 + np.exp(-usual)), rel=1e-5)
