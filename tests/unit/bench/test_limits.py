"""The limits file: either-or, what is missed, and what is refused."""

from pathlib import Path

import pytest

from wmkit.bench.limits import SequenceLimits, judge, read_limits
from wmkit.bench.score import Score
from wmkit.errors import ConfigError, InputError
from wmkit.metrics import Metric

SHIPPED = Path(__file__).resolve().parents[3] / "benchmarks" / "pose_limits.toml"


def score_of(unit: str = "m", **values: float) -> Score:
    """A score of figures by name."""
    units = {"ate_sim3": unit, "rotation_error": "deg"}
    metrics = {
        name: Metric(name=name, value=value, unit=units.get(name, "%"), definition="by hand", count=3)
        for name, value in values.items()
    }
    return Score(metrics=metrics, unmeasured={})


@pytest.mark.parametrize(
    ("ate_m", "ate_percent", "held"),
    [(0.3, 0.5, True), (0.02, 40.0, True), (0.021, 0.51, False), (0.0, 0.0, True)],
)
def test_one_of_the_two_position_limits_is_enough(ate_m: float, ate_percent: float, held: bool) -> None:
    limits = SequenceLimits(limits={"ate_percent_max": 0.5, "ate_m_max": 0.02})
    (check,) = judge("walk", limits, 1.0, score_of(ate_sim3=ate_m, ate_percent=ate_percent))
    assert check.held is held
    assert check.limit == "ate_percent_max or ate_m_max"
    assert check.line.startswith("walk: ")
    assert "\n" not in check.line


def test_one_position_limit_alone_has_no_way_out() -> None:
    (check,) = judge("walk", SequenceLimits(limits={"ate_m_max": 0.02}), 1.0, score_of(ate_sim3=0.03, ate_percent=0.1))
    assert not check.held


def test_metres_cannot_be_held_against_a_reference_without_them() -> None:
    limits = SequenceLimits(limits={"ate_m_max": 0.02})
    (check,) = judge("fox", limits, 1.0, score_of(unit="reference units", ate_sim3=0.001))
    assert not check.held


def test_every_limit_is_judged_on_its_own() -> None:
    limits = SequenceLimits(
        limits={"posed_ratio_min": 1.0, "rotation_deg_max": 1.5, "focal_percent_max": 2.0, "scale_percent_max": 5.0}
    )
    checks = judge("walk", limits, 0.99, score_of(rotation_error=1.5, focal_error=2.1, scale_error=-6.0))
    assert {check.limit: check.held for check in checks} == {
        "posed_ratio_min": False,
        "rotation_deg_max": True,
        "focal_percent_max": False,
        "scale_percent_max": False,  # signed: 6 % too small is as wrong as 6 % too large
    }


def test_what_was_not_measured_is_missed_and_says_why() -> None:
    score = Score(metrics={}, unmeasured={"rotation_error": "no trajectory: static"})
    (check,) = judge("walk", SequenceLimits(limits={"rotation_deg_max": 1.5}), 0.0, score)
    assert not check.held
    assert "no trajectory: static" in check.line


def test_the_shipped_limits_are_the_promised_ones() -> None:
    limits = read_limits(SHIPPED)
    promised = {"posed_ratio_min": 1.0, "ate_percent_max": 0.5, "ate_m_max": 0.02, "rotation_deg_max": 1.5}
    assert set(limits) == {"kitti06_gray", "icl_livingroom", "sevenscenes_kitchen"}
    assert all(item.limits == promised for item in limits.values())
    assert limits["kitti06_gray"].camera_height_m == 1.65
    assert limits["icl_livingroom"].camera_height_m is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one table"),
        ("[walk\n", "TOML"),
        ("walk = 3\n", r"table \[walk\]"),
        ("[walk]\n", "none"),
        ("[walk]\nate_max = 3\n", "ate_max"),
        ("[walk]\nate_m_max = '2 cm'\n", "number"),
        ("[walk]\nate_m_max = true\n", "number"),
        ("[walk]\nate_m_max = -1\n", "number"),
        ("[walk]\nate_m_max = nan\n", "number"),
        ("[walk]\nate_m_max = 1\n[walk.given]\nfocal_px = 3\n", "camera_height_m alone"),
        ("[walk]\nate_m_max = 1\ngiven = 3\n", "camera_height_m alone"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_limits(path)
    assert str(path) in str(caught.value)


def test_no_limits_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--limits"):
        read_limits(tmp_path / "limits.toml")
