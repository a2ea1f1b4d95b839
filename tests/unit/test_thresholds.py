"""The thresholds file: what it may say, what it decides, and that its default fits what annotate measures."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmkit.annotate.filters import FILTERS
from wmkit.annotate.pipeline import DISAGREEMENT
from wmkit.annotate.scale.played import MIRRORED, REVERSED
from wmkit.clip import Verdict
from wmkit.errors import InputError
from wmkit.thresholds import (
    DEFAULT_THRESHOLDS,
    ThresholdRow,
    Thresholds,
    apply,
    check_filters,
    parse_thresholds,
    preset_names,
    read_thresholds,
)

FOV = parse_thresholds('[fov_x]\nlow = 25\nhigh = 120.0\nunmeasured = "reject"')


def test_the_default_names_only_what_a_default_annotate_measures() -> None:
    rows = read_thresholds().rows
    assert {row.filter for row in rows} <= {config.name for config in FILTERS} | {DISAGREEMENT, MIRRORED, REVERSED}
    limits = {row.filter: (row.low, row.high, row.unmeasured) for row in rows}
    # SANA-WM, App. B.3.
    assert limits["fov_x"] == limits["fov_y"] == (25.0, 120.0, "reject")
    assert limits["focal_divergence"] == (None, 0.20, "reject")
    assert limits["posed_ratio"] == (0.8, None, "reject")
    assert read_thresholds(DEFAULT_THRESHOLDS) == read_thresholds()
    check_filters(read_thresholds(), [])  # a corpus of fewer filters is judged by what it has


PUBLISHED = {  # SANA-WM, Table 6: VMAF motion, UniMatch flow, DOVER, saturation, cuts, VLM entities, VLM quality
    "omniworld": ((0.5, 100), (3, 100), (0.35, 1), None, None, (0, 10), (0.5, 1.5)),
    "sekai-game": ((0.5, 50), (3, 80), (0.25, 1), None, None, (0, 10), (0.5, 1.5)),
    "sekai-walking-hq": ((0.5, 50), (3, 50), (0.35, 1), (0, 180), None, (0, 25), (0.5, 1.5)),
    "miradata": ((0.5, 50), (3, 80), (0.40, 1), (0, 180), (None, 1), None, None),
    "dl3dv-gs": ((6, 50), (3, 80), (0.40, 1), (0, 180), (None, 1), None, None),
    "spatialvid-hq": ((0.5, 50), (3, 80), (0.35, 1), (0, 180), None, (0, 10), (0.5, 1.5)),
    "dl3dv": (None, None, None, None, None, None, None),
}
COLUMNS = ("vmaf_motion", "flow_magnitude", "dover", "saturation", "hard_cut", "vlm_entities", "vlm_quality")


@pytest.mark.parametrize("source", PUBLISHED)
def test_a_preset_is_the_published_row(source: str) -> None:
    rows = {row.filter: row for row in read_thresholds(f"sana-wm/{source}").rows}
    published = {name: limits for name, limits in zip(COLUMNS, PUBLISHED[source], strict=True) if limits}
    camera = {"fov_x": (25, 120), "fov_y": (25, 120), "focal_divergence": (None, 0.2), "scale_variation": (None, 2)}
    assert {name: (row.low, row.high) for name, row in rows.items()} == camera | published
    measured = {config.name for config in FILTERS}
    for name, row in rows.items():
        assert row.source == ("filter" if name in measured else "scores")
        assert row.source == "filter" or row.unmeasured == "keep"


def test_presets_are_the_seven_sources_and_a_wrong_name_lists_them() -> None:
    assert set(preset_names()) == {f"sana-wm/{source}" for source in PUBLISHED}
    with pytest.raises(InputError, match=r"sana-wm/mira:.*sana-wm/miradata"):
        read_thresholds("sana-wm/mira")


def test_a_file_of_a_preset_s_name_counts_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sana-wm").mkdir()
    (tmp_path / "sana-wm" / "dl3dv").write_text('[blur]\nhigh = 1\nunmeasured = "keep"')
    monkeypatch.chdir(tmp_path)
    assert [row.filter for row in read_thresholds("sana-wm/dl3dv").rows] == ["blur"]


@given(value=st.floats(allow_nan=False, allow_infinity=False), low=st.floats(-1e6, 1e6), width=st.floats(0, 1e6))
def test_both_limits_are_inclusive(value: float, low: float, width: float) -> None:
    row = ThresholdRow(filter="f", low=low, high=low + width, unmeasured="reject")
    rejection = apply(Thresholds(rows=(row,)), [Verdict.measured("f", value, "deg")])
    assert (rejection is None) == (low <= value <= low + width)
    assert apply(Thresholds(rows=(row,)), [Verdict.measured("f", low, "deg")]) is None


def test_a_rejection_says_value_and_limits() -> None:
    rejection = apply(FOV, [Verdict.measured("fov_x", 121.5, "deg")])
    assert rejection is not None
    assert (rejection.reason, rejection.filter) == ("threshold:fov_x", "fov_x")
    assert rejection.detail == "121.5 deg is above 120"
    rejection = apply(FOV, [Verdict.measured("fov_x", 3, "")])
    assert rejection is not None
    assert rejection.detail == "3 is below 25"


@pytest.mark.parametrize("verdicts", [[], [Verdict.unmeasured("fov_x", "deg", "no_points")]])
def test_unmeasured_means_what_the_row_says(verdicts: list[Verdict]) -> None:
    rejection = apply(FOV, verdicts)
    assert rejection is not None
    assert rejection.reason == "unmeasured:fov_x"
    kept = parse_thresholds('[fov_x]\nlow = 25\nunmeasured = "keep"')
    assert apply(kept, verdicts) is None


def test_the_first_failing_row_in_the_file_is_the_reason() -> None:
    both = parse_thresholds('[b]\nhigh = 0\nunmeasured = "keep"\n[a]\nhigh = 0\nunmeasured = "keep"')
    rejection = apply(both, [Verdict.measured("a", 1, ""), Verdict.measured("b", 1, "")])
    assert rejection is not None
    assert rejection.filter == "b"


def test_a_filter_that_never_ran_is_a_typing_error() -> None:
    check_filters(FOV, ["fov_y", "fov_x"])
    with pytest.raises(InputError, match=r"(?=.*fov_x)(?=.*fov_y)"):
        check_filters(FOV, ["fov_y"])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[fov_x", "TOML"),
        ("fov_x = 3", "table"),
        ("[fov_x]\nlow = 1", "unmeasured"),
        ('[fov_x]\nlow = 1\nunmeasured = "maybe"', "maybe"),
        ("[fov_x]\nlow = 1\nunmeasured = [1]", r"\[1\]"),
        ('[fov_x]\nunmeasured = "keep"', "low, high or both"),
        ('[fov_x]\nlow = "1"\nunmeasured = "keep"', "number as low"),
        ('[fov_x]\nlow = true\nunmeasured = "keep"', "number as low"),
        ('[fov_x]\nlow = nan\nunmeasured = "keep"', "finite"),
        ('[fov_x]\nlow = 2\nhigh = 1\nunmeasured = "keep"', "low <= high"),
        ('[fov_x]\nlow = 2\nunmeasured = "keep"\nfrom = "filter"', 'from = "scores"'),
        ('[fov_x]\nminimum = 2\nunmeasured = "keep"', "minimum"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_file_and_fault(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=word) as caught:
        read_thresholds(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["absent", "folder", "binary"])
def test_an_unreadable_file_is_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="readable TOML"):
        read_thresholds(path)
