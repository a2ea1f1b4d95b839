"""`wmkit bench worlds`: rows that resume, errors against the truth, and the arithmetic of the report."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.bench_doubles import OraclePoseConfig
from wmkit.annotate.confidence.fit import Cases, fit_calibration
from wmkit.bench.held_out import held_out_probability
from wmkit.bench.real_windows import real_rows, windows_of
from wmkit.bench.rows import read_rows
from wmkit.bench.worlds import WorldsOptions, bench_worlds, run_case
from wmkit.bench.worlds_report import WorldsReport
from wmkit.errors import ConfigError, InputError
from wmkit.worlds.families import WorldCase

ORBIT = OraclePoseConfig(family="orbit")


def options(out: Path | None = None, **changes) -> WorldsOptions:
    given = {"families": ("orbit",), "per_family": 2, "seed0": 10, "size": "tiny", "workers": 1, "pose": ORBIT}
    return WorldsOptions(out=out, **given | changes)


def test_the_truth_is_good_and_what_is_bent_is_not() -> None:
    fine, bent = (run_case(WorldCase(family="orbit", seed=seed, size="tiny"), ORBIT) for seed in (2, 3))
    assert fine["outcome"] == bent["outcome"] == "posed"
    assert fine["ate_percent"] == pytest.approx(0, abs=1e-9)
    assert fine["rotation_deg"] == pytest.approx(0, abs=1e-9)
    assert (fine["good"], bent["good"]) == (True, False)
    assert bent["ate_percent"] > 2
    assert fine["features"] == {"reprojection_px": 0.2, "disagreement_focal": None}
    assert fine["truth"]["frames"] >= 24
    json.dumps(fine, allow_nan=False)


def test_a_trajectory_of_a_still_camera_is_never_good() -> None:
    row = run_case(WorldCase(family="static", seed=2, size="tiny"), OraclePoseConfig(family="static"))
    assert (row["outcome"], row["good"], row["ate_percent"]) == ("posed", False, None)


def test_a_run_that_was_cut_goes_on_and_gives_the_same_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    rows = bench_worlds(options(out))
    assert [(row["seed"], row["outcome"]) for row in rows] == [(10, "no_trajectory"), (11, "failed")]
    assert rows[1]["reason"] == "pose/boom"
    with pytest.raises(InputError, match="--resume"):
        bench_worlds(options(out))
    with open(out, "a") as file:
        file.write('{"case": "orbit-ti')  # killed in mid-line
    lines: list[str] = []
    more = bench_worlds(options(out, per_family=4, resume=True), lines.append)
    assert len(lines) == 2  # what was there is not run again
    assert [row["seed"] for row in more] == [10, 11, 12, 13]
    assert more[:2] == rows
    assert len(read_rows(out)) == 4
    with pytest.raises(ConfigError, match="got another's"):
        bench_worlds(options(out, resume=True, pose=OraclePoseConfig(family="crane")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"families": ("orbit", "yoyo")}, "--families: expected some of s_curve.*got yoyo"),
        ({"families": ()}, "got none"),
        ({"size": "huge"}, "--size"),
        ({"per_family": 0}, "--per-family"),
    ],
)
def test_options_refuse(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        options(**change)


def test_rows_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(InputError, match="readable"):
        read_rows(path)
    path.write_text("[1]\n")
    with pytest.raises(InputError, match=r"rows\.jsonl:1: expected a row"):
        read_rows(path)
    path.write_text("nonsense\n{}\n")
    with pytest.raises(InputError, match=r"rows\.jsonl:1: expected a JSON object"):
        read_rows(path)


def row(family: str, **changes) -> dict:
    """A posed, good, well-posed row that was called good."""
    made = {"case": "c", "family": family, "seed": 0, "outcome": "posed", "good": True, "posed_share": 1.0}
    made |= {"p_good": 0.95, "truth": {"well_posed": True}, "core_s": {"film": 1.0, "engine": 2.0}}
    return made | changes


def test_the_report_by_hand() -> None:
    rows = (
        row("orbit"),
        row("orbit", posed_share=0.5),  # good and called good, but half the frames are missing
        row("orbit", good=False),
        row("orbit", p_good=0.5, truth={"well_posed": False}),
        row("orbit", outcome="no_trajectory", reason="no_model", good=None, p_good=None, posed_share=0.0),
        row("static", outcome="no_trajectory", reason="static", p_good=None, truth={"well_posed": False}),
        row("pure_rotation", outcome="no_trajectory", reason="no_parallax", p_good=None, truth={"well_posed": False}),
    )
    report = WorldsReport(rows=rows)
    rates = {name: (value.hits, value.total) for name, value in report.rates.items()}
    assert rates == {
        "well_posed_good": (2, 4),
        "well_posed_good_and_called_good": (1, 4),
        "called_good_are_good": (2, 3),
        "still_named_right": (1, 2),
        "failed": (0, 7),
    }
    reliability = report.reliability
    assert reliability is not None
    # the bin of 0.5: one case, good; the bin of 0.95: three, two good. (0.5 + 3 * |0.95 - 2/3|) / 4
    assert reliability.error == pytest.approx((0.5 + 3 * (0.95 - 2 / 3)) / 4)
    text = "\n".join(report.lines())
    assert "1 no_model" in text
    assert "called good are good: 66.7 % [" in text
    record = report.to_json()
    json.dumps(record, allow_nan=False)
    assert list(record) == ["wmkit", "cases", "families", "rates", "reliability", "core_s"]
    assert record["core_s"] == {"film": 1.0, "engine": 2.0}
    assert report.exit_code == 0
    assert WorldsReport(rows=(*rows, row("orbit", outcome="failed", reason="pose/boom"))).exit_code == 1


def test_a_held_out_case_is_judged_by_other_seeds_and_families_alone() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for index in range(1600):
        family = ("a", "b", "c", "real:d")[index % 4]
        error_px = float(np.exp(rng.normal()))
        ate_percent = float(2 * error_px**3 * np.exp(rng.logistic()))
        off = {"good": ate_percent < 2, "rotation_deg": 0.1, "ate_percent": ate_percent}
        rows.append(row(family, seed=index // 4, features={"reprojection_px": error_px}, **off))
    p = held_out_probability(rows)
    seed, family = (np.array([item[key] for item in rows]) for key in ("seed", "family"))
    cases = Cases.of(rows)

    def by(others: np.ndarray, held: np.ndarray) -> np.ndarray:
        fitted = fit_calibration(cases.pick(others), backend="b", engine="", fitted_on={})
        return cases.pick(held).probability(fitted)

    fifth = (family == "b") & (seed % 5 == 3)
    np.testing.assert_array_equal(p[fifth], by((family != "b") & ((family == "real:d") | (seed % 5 != 3)), fifth))
    real = family == "real:d"
    np.testing.assert_array_equal(p[real], by(~real, real))
    with pytest.raises(InputError, match="posed rows"):
        held_out_probability([*rows, {"outcome": "no_trajectory"}])


def test_windows_of_a_sequence() -> None:
    windows = windows_of(50)
    assert windows["all"] == list(range(50))
    assert windows["second"] == list(range(0, 50, 2))
    assert windows["last"] == list(range(25, 50))
    assert set(windows_of(11)) == {"all", "most"}  # nothing under eight frames


def test_a_coarse_reference_labels_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too coarse"):
        real_rows(tmp_path / "lund_street", set(), lambda _: None)


def test_cases_come_family_by_family_within_a_seed() -> None:
    both = dataclasses.replace(options(), families=("orbit", "crane"))
    assert [case.name for case in both.cases] == [
        "orbit-tiny-000010",
        "crane-tiny-000010",
        "orbit-tiny-000011",
        "crane-tiny-000011",
    ]
