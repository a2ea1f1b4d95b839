"""The calibration: monotone in every feature, explicit about what is missing, honest on cases with a known truth."""

import dataclasses
import json
import math

import numpy as np
import pytest

from wmkit.annotate.confidence.calibration import Calibration, Term, read_calibration
from wmkit.annotate.confidence.fit import TERMS, Cases, fit_calibration, logistic_map
from wmkit.annotate.confidence.judge import ConfidenceConfig, Judge, shipped_calibration
from wmkit.annotate.confidence.reliability import calibration_error
from wmkit.atomic import json_bytes
from wmkit.clip import QUALITY_ROWS, PoseQuality
from wmkit.errors import ConfigError, InputError


def made_up(count: int, seed: int) -> Cases:
    """Cases whose probability of being good is known: it falls with two errors; a third of them has no second estimate.

    A feature that says nothing is there too, and one that is always missing.
    """
    rng = np.random.default_rng(seed)
    error_px, disagreement = np.exp(rng.normal(-1, 1, count)), np.exp(rng.normal(-3, 1.5, count))
    missing = rng.uniform(size=count) < 1 / 3
    logit = 1.0 - 1.2 * (np.log(error_px) + 1) - np.where(missing, 1.5, 1.0 * (np.log(disagreement) + 3))
    table = {term.feature: np.full(count, np.nan) for term in TERMS}
    table["reprojection_px"] = error_px
    table["disagreement_position"] = np.where(missing, np.nan, disagreement)
    table["track_length"] = rng.uniform(3, 30, count)
    group = rng.choice(["a", "b", "c", "d"], count)
    error = np.exp(-logit - rng.logistic(size=count))  # below 1 with the probability that the logit says
    return Cases(features=table, error=error, group=group)


def fitted(count: int = 1500, seed: int = 0) -> Calibration:
    return fit_calibration(made_up(count, seed), backend="made-up", engine="e", fitted_on={"cases": count})


def test_it_is_honest_on_cases_it_did_not_see() -> None:
    unseen = made_up(4000, 1)
    p = unseen.probability(fitted())
    # 0.013 measured; 0.0125 is what honest probabilities get by chance (sqrt(10 / 4000) / 4)
    assert calibration_error(p, unseen.good.astype(float)) < 0.04
    sure = p > 0.9
    assert sure.sum() > 200
    assert unseen.good[sure].mean() > 0.9


def test_the_same_cases_give_the_same_file_and_it_is_read_back_exactly(tmp_path) -> None:
    one, again = fitted(), fitted()
    assert json_bytes(one.to_json()) == json_bytes(again.to_json())
    (tmp_path / "c.json").write_bytes(json_bytes(one.to_json()))
    found = read_calibration(tmp_path / "c.json")
    assert found is not None
    assert found[0] == one
    assert len(found[1]) == 64


def test_one_case_and_many_get_the_same_probability() -> None:
    calibration, cases = fitted(), made_up(50, 2)
    one_by_one = [
        calibration.probability({name: float(column[index]) for name, column in cases.features.items()})
        for index in range(50)
    ]
    np.testing.assert_allclose(cases.probability(calibration), one_by_one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.feature)
def test_worse_evidence_never_raises_p_good(term: Term) -> None:
    """Whatever the weights, so long as none is negative: every term on its own, over the whole range."""
    rng = np.random.default_rng(0)
    knotted = dataclasses.replace(term, knots=(-3.0, -1.0, 0.5, 2.0), weights=tuple(rng.uniform(0, 2, 3).tolist()))
    values = np.linspace(1.0 if term.transform == "off_one" else 0.0, 1.0 if term.transform == "rest" else 40.0, 200)
    added = np.array([knotted.contribution(float(value)) for value in values])
    assert (np.diff(added) * term.better >= 0).all()
    assert np.ptp(added) > 0


def test_nothing_is_extrapolated() -> None:
    calibration = fitted()
    seen = made_up(1500, 0).features
    best, worst = (
        {"reprojection_px": end(seen["reprojection_px"]), "disagreement_position": end(seen["disagreement_position"])}
        for end in (np.nanmin, np.nanmax)
    )
    beyond = {name: value / 1e6 for name, value in best.items()} | {"track_length": 1e9}
    assert calibration.probability(beyond) == calibration.probability(best | {"track_length": 30.0})
    assert 0.9 < calibration.probability(beyond) <= max(calibration.p) < 1
    beyond = {name: value * 1e6 for name, value in worst.items()} | {"track_length": 0.0}
    assert calibration.probability(beyond) == calibration.probability(worst | {"track_length": 3.0})
    assert 0 < min(calibration.p) <= calibration.probability(beyond) < 0.1


def test_what_is_missing_counts_as_seen_missing_or_as_the_worst() -> None:
    calibration = fitted()
    terms = {term.feature: term for term in calibration.terms}
    assert terms["disagreement_position"].missing > 0  # a third of the cases told what its absence means
    assert terms["reprojection_px"].missing == 0  # never missing: the worst value
    worst = {"reprojection_px": 1e9, "disagreement_position": 0.01, "track_length": 10.0}
    assert calibration.score(worst | {"reprojection_px": math.nan}) == calibration.score(worst)
    assert "inlier_ratio" not in terms  # always missing: not a term


def test_the_map_finds_the_curve_that_the_cases_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(0, 2, 20_000)
    scores, p = logistic_map(score, rng.uniform(size=len(score)) < 1 / (1 + np.exp(-(0.5 + 1.5 * score))))
    wanted = np.linspace(-2.5, 2.5, 21)
    # 20,000 cases know the slope to 2 %, which is 0.012 of probability at most; the knots add 0.003
    np.testing.assert_allclose(np.interp(wanted, scores, p), 1 / (1 + np.exp(-(0.5 + 1.5 * wanted))), atol=0.015)


def test_a_score_that_says_the_opposite_is_not_believed() -> None:
    score = np.linspace(-1, 1, 200)
    scores, p = logistic_map(score, score < 0)
    found = np.interp(score, scores, p)
    assert np.ptp(found) < 0.01
    assert abs(found.mean() - 0.5) < 0.01


def test_a_fit_needs_both_outcomes() -> None:
    cases = made_up(100, 0)
    with pytest.raises(InputError, match="both good and bad"):
        fit_calibration(cases.pick(cases.good), backend="b", engine="e", fitted_on={})


def test_cases_are_the_posed_rows_with_evidence() -> None:
    posed = {
        "outcome": "posed",
        "family": "a",
        "good": False,
        "rotation_deg": 0.75,
        "ate_percent": 5.0,
        "features": {"reprojection_px": 0.5, "track_length": None},
    }
    untold = posed | {"rotation_deg": None, "ate_percent": None}
    np.testing.assert_array_equal(Cases.of([posed, untold]).error, [2.5, np.inf])
    cases = Cases.of([posed, {"outcome": "no_trajectory"}, {"outcome": "posed", "good": True}])
    assert len(cases) == 1
    assert cases.features["reprojection_px"][0] == 0.5
    assert np.isnan(cases.features["track_length"][0])
    with pytest.raises(InputError, match="features, got none"):
        Cases.of([{"outcome": "no_trajectory"}])


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": (-1.0, 1.0)},
        {"weights": (1.0,)},
        {"knots": (0.0, 0.0, 1.0)},
        {"transform": "cube"},
        {"better": 0},
    ],
    ids=str,
)
def test_a_term_refuses(wrong: dict) -> None:
    fine = {
        "feature": "f",
        "transform": "log",
        "better": 1,
        "floor": 0.1,
        "knots": (0.0, 1.0, 2.0),
        "weights": (1.0, 0),
    }
    with pytest.raises(InputError, match="term f"):
        Term(**fine | wrong)


def test_a_file_that_is_no_calibration_is_named(tmp_path) -> None:
    path = tmp_path / "c.json"
    assert read_calibration(path) is None
    for text in ("{", "{}", json.dumps(fitted().to_json() | {"p": [0.9, 0.1], "scores": [0, 1]})):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"c\.json: expected a calibration"):
            read_calibration(path)


def quality() -> PoseQuality:
    rows = dict.fromkeys(QUALITY_ROWS, np.full(3, 0.5))
    return PoseQuality(**rows, features=(("reprojection_px", 0.1), ("disagreement_position", 0.001)))  # type: ignore[arg-type]


def test_the_judge_speaks_for_its_own_backend_alone() -> None:
    calibration = fitted()
    judge = Judge((calibration, "ab" * 32))
    assert judge.judge(None, "made-up") is None
    sure = judge.judge(quality(), "made-up")
    assert sure is not None
    assert sure.p_good == calibration.probability(dict(quality().features))
    assert sure.calibration == "made-up-" + "ab" * 8
    for other in (judge.judge(quality(), "other"), Judge(None).judge(quality(), "made-up")):
        assert other is not None
        assert other.p_good is None
        assert "no_calibration" in other.reason


def test_a_config_names_the_calibration_it_was_made_with() -> None:
    assert ConfidenceConfig().calibration == shipped_calibration()
    with pytest.raises(ConfigError, match="expected calibration 0123"):
        ConfidenceConfig(calibration="0123").build("cpu")
