"""The simulation of the scale cues: a fast part of it, and what its figures mean."""

import json
from pathlib import Path

import numpy as np
import pytest

from wmkit.annotate.protocols import Unmeasured
from wmkit.bench import scale as module
from wmkit.bench.scale import ScaleBenchOptions, bench_scale
from wmkit.bench.scale_draws import DRAWS
from wmkit.camera import ScaleVote
from wmkit.errors import InputError

DRAWN = 80


@pytest.mark.parametrize("cue", list(DRAWS))
def test_intervals_hold_the_truth_about_95_times_in_100(cue: str) -> None:
    (row,) = bench_scale(ScaleBenchOptions(draws=DRAWN, cues=(cue,))).rows
    assert row.votes > 0.9 * DRAWN
    # Binomial(80, 0.95) has a standard deviation of 2.4 %: four of them; `bench scale` itself asks for 92 to 98 %.
    assert row.rate > 0.95 - 4 * np.sqrt(0.95 * 0.05 / row.votes)
    assert 0.6 < row.spread < 1.5


def test_the_same_options_give_the_same_figures(tmp_path: Path) -> None:
    options = ScaleBenchOptions(draws=6, cues=("gps", "baseline"), out=tmp_path / "a.json")
    bench = bench_scale(options)
    assert bench == bench_scale(options)
    assert json.loads((tmp_path / "a.json").read_text()) == bench.to_json()
    assert [row.cue for row in bench.rows] == ["gps", "baseline", "fused"]
    assert len(bench.lines()) == 5


def test_a_cue_whose_sigma_is_too_small_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def cocksure(rng: np.random.Generator) -> tuple[float, ScaleVote | Unmeasured]:
        if rng.random() < 0.1:
            return 1.0, Unmeasured(reason="now and then")
        return 1.0, ScaleVote(cue="gps", value=float(np.exp(0.1 * rng.standard_normal())), sigma_log=0.03)

    monkeypatch.setitem(module.DRAWS, "gps", cocksure)
    bench = bench_scale(ScaleBenchOptions(draws=200, cues=("gps",)))
    assert bench.exit_code == 1
    assert bench.rows[0].votes < 200
    assert bench.rows[0].spread == pytest.approx(0.1 / 0.03, rel=0.2)
    assert "MISSED" in bench.lines()[1]


def test_options_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="--draws"):
        ScaleBenchOptions(draws=0)
    with pytest.raises(InputError, match="--cue"):
        ScaleBenchOptions(cues=("stars",))
