"""Which clips lie closest to a threshold."""

import numpy as np

from wmkit.annotate.report.borderline import borderline, by_turns
from wmkit.clip import Verdict
from wmkit.corpus import LedgerRow, Status
from wmkit.corpus.columns import LedgerColumns
from wmkit.corpus.ledger import ledger_table
from wmkit.thresholds import parse_thresholds

LIMITS = parse_thresholds(
    '[fov]\nlow = 25\nhigh = 120\nunmeasured = "keep"\n[blur]\nhigh = 0.5\nunmeasured = "keep"\n'
    '[never_ran]\nhigh = 1\nunmeasured = "keep"'
)


def columns_of(fov: dict[int, float], blur: dict[int, float], without: tuple[int, ...] = ()) -> LedgerColumns:
    rows = []
    for number in sorted(fov.keys() | blur.keys()):
        verdicts = [Verdict.measured(name, values[number], unit) if number in values
                    else Verdict.unmeasured(name, unit, "no_camera")
                    for name, unit, values in (("fov", "deg", fov), ("blur", "", blur))]  # fmt: skip
        status = Status.NO_TRAJECTORY if number in without else Status.OK
        rows.append(
            LedgerRow(clip_id=f"{number:032x}", source=f"{number}.mp4", status=status, verdicts=tuple(verdicts))
        )
    return LedgerColumns(ledger_table(rows))


def test_both_sides_of_both_limits_nearest_first() -> None:
    fov = {1: 26.0, 2: 60.0, 3: 119.5, 4: 24.9, 5: 3.0, 6: 121.0, 7: 25.0, 8: 25.01}
    found = borderline(columns_of(fov, {1: 0.1}, without=(8,)), LIMITS)
    assert [(line.row.filter, line.unit) for line in found] == [("fov", "deg"), ("blur", "")]
    assert [(near.source, near.value, near.passes) for near in found[0].near] == [
        ("7.mp4", 25.0, True),  # a limit passes itself; clip 8 is nearer than 3, and has no trajectory
        ("3.mp4", 119.5, True),
        ("4.mp4", 24.9, False),
        ("6.mp4", 121.0, False),
    ]
    assert [near.source for near in found[1].near] == ["1.mp4"]


def test_cards_go_round_the_rows_and_no_clip_comes_twice() -> None:
    found = borderline(columns_of({1: 26.0, 2: 24.0, 3: 30.0}, {1: 0.4, 4: 0.6, 5: 0.7}), LIMITS)
    assert by_turns(found) == [f"{number:032x}" for number in (1, 2, 4, 3, 5)]


def test_nothing_measured_is_nothing_near() -> None:
    assert borderline(columns_of({}, {}), LIMITS) == ()
    assert borderline(columns_of({1: 30.0}, {1: 0.2}, without=(1,)), LIMITS) == ()
    assert by_turns(()) == []


def test_what_most_clips_have_is_not_borderline() -> None:
    blur = dict.fromkeys(range(6), 0.0) | {6: 0.7, 7: 0.9}
    (line,) = borderline(columns_of({}, blur), LIMITS)
    assert [near.value for near in line.near] == [0.7, 0.9], "six of eight are 0"
    assert borderline(columns_of({}, dict.fromkeys(range(6), 0.0)), LIMITS) == ()


def test_it_is_the_nearest_of_many() -> None:
    rng = np.random.default_rng(0)
    values = dict(enumerate(rng.uniform(0, 1, 500).tolist()))
    (line,) = borderline(columns_of({}, values), LIMITS)
    passing = sorted((value for value in values.values() if value <= 0.5), reverse=True)[:2]
    rejected = sorted(value for value in values.values() if value > 0.5)[:2]
    assert [near.value for near in line.near] == [*passing, *rejected]
