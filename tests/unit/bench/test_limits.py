"""The limits file: either-or, what is missed, and what is refused."""

from pathlib import Path

import pytest

from wmkit.bench.limits import Cost, SequenceLimits, judge, read_limits
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


COSTS = {"pose_core_s_max": 0.15, "second_share_max": 0.5, "peer_ratio_min": 4.0}


@pytest.mark.parametrize(
    ("cost", "held"),
    [
        (Cost(pose_core_s=0.15, second_share=0.5, peer_ratio=4.0), [True, True, True]),
        (Cost(pose_core_s=0.16, second_share=0.51, peer_ratio=3.9), [False, False, False]),
        (Cost(pose_core_s=0.1, second_share=None, peer_ratio=None), [True, False]),
        (None, [False, False]),
    ],
)
def test_costs(cost: Cost | None, held: list[bool]) -> None:
    """A peer that did not run is not judged; a second estimate that should have been measured and was not is missed."""
    checks = judge("walk", SequenceLimits(limits=COSTS), 1.0, score_of(), cost)
    assert [check.held for check in checks] == held
    assert [check.limit for check in checks] == list(COSTS)[: len(held)]


def test_lengths_are_signed_and_judged_by_their_size() -> None:
    limits = SequenceLimits(
        limits={"net_displacement_percent_max": 5.0, "path_percent_max": 10.0, "scale_interval_max": 1.0}
    )
    score = score_of(net_displacement_error=-5.1, path_length_error=-9.0, scale_interval=1.0)
    held = {check.limit: check.held for check in judge("walk", limits, 1.0, score)}
    assert held == {"net_displacement_percent_max": False, "path_percent_max": True, "scale_interval_max": True}


def test_the_shipped_limits_are_the_promised_ones() -> None:
    shipped = read_limits(SHIPPED)
    every, smooth = {"posed_ratio_min": 1.0}, {"pose_core_s_max": 0.15, "second_share_max": 0.5}
    fine = {"ate_percent_max": 0.05}
    assert {name: item.limits for name, item in shipped.items()} == {
        "kitti06_gray": {
            **every, "ate_percent_max": 0.15, "rotation_deg_max": 0.25, "scale_percent_max": 5.0, "peer_ratio_min": 4.0
        },
        "icl_livingroom": {**every, "ate_m_max": 0.012, "rotation_deg_max": 0.65, **smooth, "peer_ratio_min": 4.0},
        "sevenscenes_kitchen": {**every, "ate_m_max": 0.010, "rotation_deg_max": 1.0, **smooth, "peer_ratio_min": 5.0},
        "fox": {**every, **fine, "rotation_deg_max": 0.25},
        "strecha_fountain11": {**every, **fine, "rotation_deg_max": 0.22},
        "gopro_max_walk": {
            **every, "rotation_deg_max": 1.5, "net_displacement_percent_max": 5.0, "scale_interval_max": 1.0, **smooth
        },
        "lund_street": {"posed_ratio_min": 0.965, "path_percent_max": 10.0},
    }  # fmt: skip
    assert 27 / 29 < shipped["lund_street"].limits["posed_ratio_min"] < 28 / 29
    assert {name for name, item in shipped.items() if item.sidecars} == {"gopro_max_walk", "lund_street"}
    assert {name: item.camera_height_m for name, item in shipped.items() if item.camera_height_m is not None} == {
        "kitti06_gray": 1.65
    }


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
        ("[walk]\nate_m_max = 1\n[walk.given]\nfocal_px = 3\n", "camera_height_m and sidecars alone"),
        ("[walk]\nate_m_max = 1\ngiven = 3\n", "camera_height_m and sidecars alone"),
        ("[walk]\nate_m_max = 1\n[walk.given]\nsidecars = 'walk.gpx'\n", "expected auto"),
        ("[walk]\nate_m_max = 1\n[walk.given]\nsidecars = true\n", "expected auto"),
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
