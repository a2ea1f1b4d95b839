"""Rotary embedding: Wan's bands, and scores that see relative positions alone."""

import pytest
import torch

from wmkit.model.rays import LatentGrid
from wmkit.model.rope import rope_angles, rope_bands, rotate_pairs

GRID = LatentGrid(frames=3, rows=4, columns=5, stride=4)


def test_bands_of_the_released_head() -> None:
    assert rope_bands(112) == (20, 18, 18)
    assert rope_bands(56) == (10, 9, 9)
    assert sum(rope_bands(32)) == 16


def test_angles_follow_frame_row_and_column() -> None:
    angles = rope_angles(GRID, 112, 10_000.0).view(3, 4, 5, 56)
    torch.testing.assert_close(angles[2, 1, 3, :20], 2 * 10_000.0 ** (-torch.arange(20) / 20).double())
    torch.testing.assert_close(angles[2, 1, 3, 20:38], 10_000.0 ** (-torch.arange(18) / 18).double())
    torch.testing.assert_close(angles[2, 1, 3, 38:], 3 * 10_000.0 ** (-torch.arange(18) / 18).double())


def test_camera_half_takes_the_front_of_every_band() -> None:
    main, kept = rope_angles(GRID, 112, 10_000.0), rope_angles(GRID, 112, 10_000.0, keep=56)
    assert torch.equal(kept, torch.cat([main[..., :10], main[..., 20:29], main[..., 38:47]], dim=-1))


def test_scores_see_relative_positions_alone() -> None:
    q, k = torch.randn(2, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    angles = rope_angles(GRID, 24, 100.0).view(3, 4, 5, 12)

    def score(at: tuple[int, ...], other: tuple[int, ...]) -> float:
        return (rotate_pairs(q, angles[at]) @ rotate_pairs(k, angles[other])).item()

    assert score((0, 1, 2), (1, 0, 4)) == pytest.approx(score((1, 2, 0), (2, 1, 2)), abs=1e-13)
    assert score((0, 1, 2), (1, 0, 4)) != pytest.approx(score((0, 1, 2), (1, 0, 3)), abs=1e-3)
    torch.testing.assert_close(rotate_pairs(rotate_pairs(q, angles[2, 3, 4]), -angles[2, 3, 4]), q)
