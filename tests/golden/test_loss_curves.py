"""The first losses of every tiny recipe are those of the golden file."""

from pathlib import Path

import pytest

from tests.golden.loss_curves import STEPS, TINY, losses, stored


def test_every_tiny_recipe_has_a_curve() -> None:
    assert set(stored()) == set(TINY)
    assert all(len(curve) == STEPS for curve in stored().values())


@pytest.mark.parametrize("name", TINY)
def test_losses_are_the_golden_ones(name: str, tmp_path: Path) -> None:
    # Sums of float32 in another order on another CPU, and two updates of AdamW after them; a change of a draw, a
    # weight or a rate moves them by percents.
    assert losses(name, tmp_path) == pytest.approx(stored()[name], rel=2e-3)
