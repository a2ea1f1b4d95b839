"""p_good on the page: the held-out curve of this corpus' calibration and no other's."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from wmkit.annotate.confidence.calibration import SHIPPED, read_calibration
from wmkit.annotate.confidence.held_out import SHIPPED_HELD_OUT, read_held_out
from wmkit.annotate.confidence.judge import shipped_calibration
from wmkit.annotate.confidence.reliability import reliability_bins
from wmkit.annotate.report.honesty import honesty, honesty_svg
from wmkit.clip import Verdict
from wmkit.corpus import LedgerRow, Status
from wmkit.corpus.columns import LedgerColumns
from wmkit.corpus.ledger import ledger_table
from wmkit.errors import ConfigError


def columns_of(*p_good: float) -> LedgerColumns:
    rows = [
        LedgerRow(
            clip_id=f"{number:032x}",
            source=f"{number}.mp4",
            status=Status.OK,
            verdicts=(Verdict.measured("p_good", value, ""),),
        )
        for number, value in enumerate(p_good)
    ]
    return LedgerColumns(ledger_table(rows))


def test_the_shipped_curve_is_the_shipped_calibrations() -> None:
    """Written together by benchmarks/calibrate_p_good.py (--rows does it from finished rows, without running any)."""
    held_out, shipped = read_held_out(shipped_calibration()), read_calibration(SHIPPED)
    assert held_out is not None, "p_good.json is newer than p_good_held_out.json"
    assert shipped is not None
    assert held_out.cases == sum(item.observed.total for item in held_out.bins) == shipped[0].fitted_on["cases"]
    assert sum(item.observed.hits for item in held_out.bins) == shipped[0].fitted_on["good"]
    gaps = [item.observed.total * abs(item.mean - item.observed.value) for item in held_out.bins]
    assert held_out.error == pytest.approx(sum(gaps) / held_out.cases, abs=1e-3)  # bins' means have three digits


def test_another_calibration_has_no_curve_here() -> None:
    assert read_held_out("0" * 64) is None
    assert read_held_out(shipped_calibration(), Path("/nowhere")) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    record = json.loads(SHIPPED_HELD_OUT.read_text())
    del record["bins"][0]["observed"]
    (tmp_path / "curve.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"curve\.json: expected held-out reliability.*calibrate_p_good"):
        read_held_out(record["calibration"], tmp_path / "curve.json")


def test_the_sum_of_p_good_and_the_curve_of_this_calibration() -> None:
    columns = columns_of(0.25, 0.5, 0.95)
    found = honesty(columns, {"confidence": {"calibration": shipped_calibration()}})
    assert found is not None
    assert (found.clips, found.expected_good) == (3, pytest.approx(1.7))
    assert found.held_out is not None
    assert found.svg.count('class="whisker"') == len(found.held_out.bins)
    for config in ({"confidence": {"calibration": "none"}}, {}, {"confidence": None}):
        other = honesty(columns, config)
        assert other is not None
        assert other.held_out is None
        assert "whisker" not in other.svg
    assert honesty(LedgerColumns(ledger_table([])), {}) is None


def test_an_honest_curve_lies_on_the_diagonal_and_bars_count_the_clips() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 20_000)
    truth = (rng.uniform(0, 1, len(p)) < p).astype(float)
    held_out = read_held_out(shipped_calibration())
    assert held_out is not None
    svg = honesty_svg(np.array([0.02, 0.02, 0.97]), dataclasses.replace(held_out, bins=reliability_bins(p, truth)))
    (line,) = re.findall(r'class="track" d="M([^"]*)"', svg)
    points = np.array([[float(word) for word in pair.split()] for pair in line.split("L")])
    share = (points - [56.0, 210.0]) / [312.0, -200.0]  # the box of the curve, px
    np.testing.assert_allclose(share[:, 0], share[:, 1], atol=0.04)  # 2,000 a bin: four of their own sigmas
    heights = [float(text) for text in re.findall(r'class="bar"[^>]*height="([\d.]+)"', svg)]
    assert heights == [70.0, 35.0]
