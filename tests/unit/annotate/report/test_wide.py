"""What the report says of all clips at once: columns against one row after the other, and counts that add up."""

import dataclasses
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.large_ledger import write_large_corpus
from wmkit.annotate.report import write_report
from wmkit.annotate.report.data import histogram, waterfall
from wmkit.annotate.report.wide import (
    all_histograms,
    correlations,
    failing,
    full_rows,
    letter_groups,
    light_rows,
    review_sizes,
    source_groups,
    threshold_steps,
)
from wmkit.clip import Verdict
from wmkit.corpus import Corpus, DeadLetter, LedgerRow, Status
from wmkit.corpus.columns import LedgerColumns
from wmkit.corpus.ledger import ledger_table
from wmkit.thresholds import apply, parse_thresholds

UNITS = {"fov_x": "deg", "reprojection_px": "px", "blur": ""}
LIMITS = parse_thresholds(
    '[fov_x]\nlow = 0.7\nhigh = 2.0\nunmeasured = "reject"\n[blur]\nhigh = 1.2\nunmeasured = "keep"\n'
    '[never_ran]\nlow = 1\nunmeasured = "keep"'
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_large_corpus(tmp_path_factory.mktemp("wide") / "corpus", 400, UNITS, parts=3)


def columns_of(rows: list[LedgerRow]) -> LedgerColumns:
    return LedgerColumns(ledger_table(rows))


def ok(number: int, *verdicts: Verdict) -> LedgerRow:
    return LedgerRow(clip_id=f"{number:032x}", source=f"{number}.mp4", status=Status.OK, verdicts=verdicts)


def test_histograms_are_those_of_the_verdicts_one_by_one(corpus: Corpus) -> None:
    rows = corpus.latest().values()
    for data in all_histograms(corpus.columns()):
        verdicts = [verdict for row in rows for verdict in row.verdicts if verdict.name == data.name]
        values = np.array([verdict.value for verdict in verdicts if verdict.value is not None])
        reasons = Counter(verdict.reason for verdict in verdicts if verdict.value is None)
        wanted = histogram(data.name, UNITS[data.name], values, reasons)
        assert (data.counts, data.below, data.above, data.reasons) == (
            wanted.counts, wanted.below, wanted.above, wanted.reasons,
        )  # fmt: skip
        assert data.quantile == wanted.quantile
        np.testing.assert_array_equal(data.edges, wanted.edges)


def test_a_verdict_nobody_could_measure_is_still_there() -> None:
    rows = [ok(number, Verdict.unmeasured("blur", "px", reason)) for number, reason in enumerate("aab")]
    (data,) = all_histograms(columns_of(rows))
    assert (data.measured, data.unmeasured, data.quantile, data.counts) == (0, 3, None, ())
    assert data.reasons == (("a", 2), ("b", 1))


def test_units_do_not_mix_and_filters_keep_their_order() -> None:
    rows = [
        ok(1, Verdict.measured("speed", 1.0, "m/s"), Verdict.measured("fov", 60.0, "deg")),
        ok(2, Verdict.measured("speed", 7.0, "median_depth/s")),
    ]
    assert [(data.name, data.unit, data.measured) for data in all_histograms(columns_of(rows))] == [
        ("speed", "m/s", 1),
        ("speed", "median_depth/s", 1),
        ("fov", "deg", 1),
    ]
    assert all_histograms(columns_of([])) == ()


def test_light_rows_are_the_rows_and_full_ones_are_whole(corpus: Corpus) -> None:
    columns, latest = corpus.columns(), corpus.latest()
    light = light_rows(columns)
    assert list(light) == list(latest)
    for key, row in light.items():
        whole = latest[key]
        kept = tuple(verdict for verdict in whole.verdicts if verdict.name == "reprojection_px")
        assert row == dataclasses.replace(whole, verdicts=kept)
    chosen = list(light.values())[::97]
    assert full_rows(columns, chosen) == [latest[row.clip_id] for row in chosen]


def test_the_waterfall_goes_on_through_the_thresholds_and_adds_up(corpus: Corpus) -> None:
    columns, latest = corpus.columns(), corpus.latest()
    first = failing(columns, LIMITS)
    steps = threshold_steps(waterfall(corpus.sources(), light_rows(columns)), columns, LIMITS, first)
    good = [row for row in latest.values() if row.status is Status.OK]
    rejections = [apply(LIMITS, row.verdicts) for row in good]
    passed = sum(rejection is None for rejection in rejections)
    assert (steps[-1].label, steps[-1].count, steps[-1].after) == ("Pass the thresholds", passed, passed)
    losses = {step.detail: step.count for step in steps if step.label == "Threshold"}
    counted = Counter(rejection.reason for rejection in rejections if rejection is not None)
    assert losses == {
        "fov_x below 0.7 or above 2": counted["threshold:fov_x"],
        "fov_x unmeasured": counted["unmeasured:fov_x"],
        "blur above 1.2": counted["threshold:blur"],
    }
    for before, after in pairwise(steps):
        assert after.after == before.after - (after.count if after.kind == "loss" else 0)


def test_every_clip_is_in_one_group(corpus: Corpus) -> None:
    columns, latest = corpus.columns(), corpus.latest()
    groups = source_groups(columns, failing(columns, LIMITS))
    assert {group.name for group in groups} == {"spatialvid", "miradata", "sekai"}
    assert sum(group.clips for group in groups) == 400
    for group in groups:
        rows = [row for row in latest.values() if row.source.startswith(group.name)]
        assert group.failed == sum(row.status is Status.FAILED for row in rows)
        assert group.frames == sum(row.frames or 0 for row in rows)
        good = [row for row in rows if row.status is Status.OK]
        assert (group.ok, group.metric) == (len(good), sum(row.scale_value is not None for row in good))
        assert group.passed == sum(apply(LIMITS, row.verdicts) is None for row in good)
    many = [LedgerRow(clip_id=f"{k:032x}", source=f"folder{k}/a.mp4", status=Status.OK) for k in range(40)]
    found = source_groups(columns_of(many), np.full(40, -1))
    assert (len(found), found[-1].name, found[-1].clips) == (31, "others", 10)


def test_review_sizes_are_the_rule_of_three_and_never_more_than_all() -> None:
    sizes = {size.bound: size.clips for size in review_sizes(200_000)}
    # of many clips without one wrong: ln 0.05 / ln(1 - bound)
    for bound, (none, one, two) in sizes.items():
        assert none == pytest.approx(np.log(0.05) / np.log(1 - bound), rel=0.02)
        assert none is not None
        assert one is not None
        assert two is not None
        assert none < one < two
    small = {size.bound: size.clips for size in review_sizes(100)}
    # one in a hundred is allowed: two or more wrong of 100, found none in n, so n from C(100-n, 2) / C(100, 2) <= 0.05
    assert small[0.01][0] == next(n for n in range(101) if (100 - n) * (99 - n) / (100 * 99) <= 0.05)
    assert review_sizes(0)[0].clips == (None, None, None)


def test_verdicts_that_go_together_are_those_of_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a = rng.normal(size=200).round(1)  # with ties
    values = {"a": a, "same": a**3, "against": -a + rng.normal(0, 0.5, 200), "other": rng.normal(size=200)}
    kept = np.arange(200) % 7 < 6
    rows = []
    for k in range(200):
        names = [name for name in values if kept[k] or name != "a"]
        rows.append(ok(k, *(Verdict.measured(name, float(values[name][k]), "") for name in names)))
    found = {(pair.one, pair.other): pair for pair in correlations(columns_of(rows))}
    assert set(found) == {("a", "same"), ("a", "against"), ("same", "against")}
    assert found["a", "same"].rho == pytest.approx(1.0)
    assert found["a", "against"].rho == pytest.approx(float(np.asarray(spearmanr(a[kept], values["against"][kept]))[0]))
    assert (found["a", "against"].clips, found["same", "against"].clips) == (int(kept.sum()), 200)
    assert correlations(columns_of(rows[:20])) == ()


def test_dead_letters_are_grouped_the_most_frequent_first() -> None:
    letters = [
        DeadLetter(
            clip_id=f"{k:02x}",
            source=f"{9 - k}.mp4",
            path="",
            stage="pose",
            code="timeout" if k else "memory",
            message="",
            traceback="",
            command=f"wmkit annotate {k}",
            attempt=1,
            config_hash="",
        )
        for k in range(8)
    ]
    first, second = letter_groups(letters)
    assert (first.code, first.count, [letter.source for letter in first.shown]) == (
        "timeout", 7, ["2.mp4", "3.mp4", "4.mp4", "5.mp4", "6.mp4"],
    )  # fmt: skip
    assert (second.code, second.count) == ("memory", 1)
    assert letter_groups([]) == ()


def test_the_page_says_all_of_it(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[fov_x]\nlow = 0.7\nhigh = 2.0\nunmeasured = "reject"')
    page = write_report(corpus.path, max_cards=5, thresholds=file).read_text()
    for words in ("fov_x below 0.7 or above 2", "Pass the thresholds", "spatialvid", "How many to review by hand"):
        assert words in page
    assert page.count('class="limit"') == 2
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
