import dataclasses
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmkit.annotate.report.data import Step, choose_cards, histogram, totals, waterfall
from wmkit.annotate.report.wide import all_histograms
from wmkit.clip import Verdict
from wmkit.corpus import LedgerRow, SourceRow, Status
from wmkit.corpus.columns import LedgerColumns
from wmkit.corpus.ledger import ledger_table


def source(number: int, path: str) -> SourceRow:
    return SourceRow(path=path, name=path, size_bytes=1, mtime_ns=1, content_hash="aa", clip_id=f"{number:032x}")


def row(number: int, status: Status = Status.OK, code: str = "", **fields: object) -> LedgerRow:
    plain = LedgerRow(clip_id=f"{number:032x}", source=f"{number}.mp4", status=status, stage="pose", code=code)
    return dataclasses.replace(plain, **fields)  # type: ignore[arg-type]


def by_id(rows: list[LedgerRow]) -> dict[str, LedgerRow]:
    return {row.clip_id: row for row in rows}


numbers = st.integers(0, 12)
outcomes = st.tuples(st.sampled_from(list(Status)), st.sampled_from([f"code_{index}" for index in range(12)]))


@settings(max_examples=60, deadline=None)
@given(named=st.lists(numbers), outcome=st.dictionaries(numbers, outcomes))
def test_waterfall_adds_up(named: list[int], outcome: dict[int, tuple[Status, str]]) -> None:
    rows = by_id([row(number, *entry) for number, entry in outcome.items()])
    steps = waterfall([source(number, f"{place}.mp4") for place, number in enumerate(named)], rows)
    for before, step in pairwise(steps):
        change = {"gain": step.count, "loss": -step.count, "total": 0}[step.kind]
        assert step.after == before.after + change
        if step.kind == "total":
            assert step.count == step.after
    status = Counter(entry[0] for entry in outcome.values())
    assert steps[0].count == len(named)
    assert steps[-1].count == status[Status.OK]
    for label, kind in (("Failed", Status.FAILED), ("No trajectory", Status.NO_TRAJECTORY)):
        assert sum(step.count for step in steps if step.label == label) == status[kind]


def test_waterfall_names_duplicates_codes_and_what_is_missing() -> None:
    rows = [row(1), row(2, Status.FAILED, "timeout"), row(3, Status.NO_TRAJECTORY, "static"), row(9)]
    steps = waterfall([source(1, "a"), source(1, "b"), source(2, "c"), source(3, "d"), source(4, "e")], by_id(rows))
    assert [(step.kind, step.label, step.detail, step.count) for step in steps] == [
        ("total", "Sources found", "", 5),
        ("gain", "Earlier clips", "their source was replaced or is not listed", 1),
        ("loss", "Duplicates", "same content as another source", 1),
        ("total", "Distinct clips", "", 5),
        ("loss", "Not annotated yet", "run the same command again", 1),
        ("loss", "Failed", "pose/timeout", 1),
        ("loss", "No trajectory", "static", 1),
        ("total", "With a trajectory", "", 2),
    ]


def test_rare_codes_share_a_line() -> None:
    rows = [row(number, Status.FAILED, f"code_{number:02d}") for number in range(20)]
    rows += [row(100 + number, Status.FAILED, "common") for number in range(5)]
    failed = [step for step in waterfall([], by_id(rows)) if step.label == "Failed"]
    assert [(step.detail, step.count) for step in failed[:2]] == [("pose/common", 5), ("pose/code_00", 1)]
    assert isinstance(failed[-1], Step)
    assert (failed[-1].detail, failed[-1].count) == ("13 other codes", 13)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e12, 1e12), st.integers(0, 5).map(float)), max_size=40))
def test_histogram_counts_every_row(values: list[float | None]) -> None:
    verdicts = [
        Verdict.unmeasured("blur", "px", "too_dark") if value is None else Verdict.measured("blur", value, "px")
        for value in values
    ]
    found = all_histograms(
        LedgerColumns(ledger_table([row(number, verdicts=(verdict,)) for number, verdict in enumerate(verdicts)]))
    )
    assert len(found) == bool(values)
    for data in found:
        assert data.below + sum(data.counts) + data.above == data.measured == len(values) - values.count(None)
        assert data.unmeasured == values.count(None) == sum(count for _, count in data.reasons)
        assert (np.diff(data.edges) > 0).all()
        assert len(data.counts) == max(0, len(data.edges) - 1)


def test_an_outlier_does_not_flatten_the_rest() -> None:
    values = np.append(np.linspace(1.0, 1.9, 50), [1e9])
    data = histogram("speed", "m/s", values, {})
    assert (data.above, data.below) == (1, 0)
    assert data.edges[-1] < 10
    assert np.count_nonzero(data.counts) > 10
    assert data.quantile is not None
    assert data.quantile[1] == pytest.approx(np.median(values))


def test_whole_numbers_have_a_bin_each() -> None:
    data = histogram("hard_cut", "cuts", np.array([0.0, 0, 1, 3]), {})
    np.testing.assert_array_equal(data.edges, [-0.5, 0.5, 1.5, 2.5, 3.5])
    assert data.counts == (2, 1, 0, 1)


def test_totals() -> None:
    rows = [
        row(1, frames=10, posed_frames=8, scale_value=2.0, timings={"pose": 2.0}),
        row(2, frames=10, posed_frames=10, timings={"pose": 1.0, "depth": 4.0}),
        row(3, Status.NO_TRAJECTORY, "static", frames=5, posed_frames=0),
        row(4, Status.FAILED, "timeout"),
    ]
    found = totals(rows)
    assert (found.clips, found.ok, found.no_trajectory, found.failed) == (4, 2, 1, 1)
    assert (found.frames, found.posed_frames, found.metric) == (25, 18, 1)
    assert found.core_s == {"pose": 3.0, "depth": 4.0}


def many_rows() -> list[LedgerRow]:
    rows = [row(number, frames=10, posed_frames=number % 10) for number in range(1, 61)]
    rows += [row(number, Status.FAILED, "common") for number in range(100, 130)]
    rows += [row(200, Status.FAILED, "rare"), row(201, Status.NO_TRAJECTORY, "static", frames=9, posed_frames=0)]
    return rows


def test_all_clips_when_they_fit_failed_and_worst_first() -> None:
    rows = [row(1, frames=4, posed_frames=4), row(2, frames=4, posed_frames=2), row(3, Status.FAILED, "timeout")]
    rows += [row(4, Status.NO_TRAJECTORY, "static", frames=4, posed_frames=0)]
    choice = choose_cards(by_id(rows), 4, "c0ffee")
    assert [entry.source for entry in choice.rows] == ["3.mp4", "4.mp4", "2.mp4", "1.mp4"]
    assert choice.note == ""


def test_equally_posed_clips_are_ordered_by_reprojection_error() -> None:
    rows = [
        row(number, frames=4, posed_frames=4, verdicts=(Verdict.measured("reprojection_px", error_px, "px"),))
        for number, error_px in ((1, 0.5), (2, 2.0), (3, 1.0))
    ]
    assert [entry.source for entry in choose_cards(by_id(rows), 9, "").rows] == ["2.mp4", "3.mp4", "1.mp4"]


def test_too_many_clips_are_sampled_and_said_so() -> None:
    rows = many_rows()
    choice = choose_cards(by_id(rows), 20, "c0ffee")
    status = Counter(entry.status for entry in choice.rows)
    assert len({entry.clip_id for entry in choice.rows}) == len(choice.rows) == 20
    assert status[Status.FAILED] == 10
    assert "rare" in {entry.code for entry in choice.rows}, "a rare code has its turn"
    assert choice.rows[10].status is Status.NO_TRAJECTORY
    assert choice.note.startswith("Cards of 20 of 92 clips: 10 of 31 failed, the 5 worst of 61 others, 5 drawn")
    again = choose_cards(dict(reversed(by_id(rows).items())), 20, "c0ffee")
    assert again == choice
    assert choose_cards(by_id(rows), 20, "decaf").rows != choice.rows


def test_free_places_go_to_whoever_is_left() -> None:
    failed = [row(number, Status.FAILED, "common") for number in range(50)]
    assert len(choose_cards(by_id(failed), 20, "").rows) == 20
    fine = [row(number, frames=4, posed_frames=4) for number in range(50)]
    assert len(choose_cards(by_id(fine), 20, "").rows) == 20
    assert len(choose_cards(by_id([*failed, row(99)]), 20, "").rows) == 20
