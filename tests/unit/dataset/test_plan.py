"""Which clips pass: columns decide as verdict by verdict does, presets and scores included."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.large_ledger import write_large_corpus
from wmkit.annotate.filters import FILTERS
from wmkit.clip import Verdict
from wmkit.corpus import Corpus, LedgerRow, Status
from wmkit.dataset.plan import PlanSummary, count_reasons, plan_clips
from wmkit.dataset.scores import NO_SCORES, read_scores
from wmkit.dataset.writer import BuildOptions, try_thresholds
from wmkit.errors import InputError
from wmkit.thresholds import apply, parse_thresholds

UNITS = {"fov_x": "deg", "blur": "", "speed": "m/s"}
ROWS = """
[fov_x]
low = 0.8
unmeasured = "keep"
[blur]
low = 0.5
high = 2.0
unmeasured = "reject"
[speed]
high = 1.5
unmeasured = "keep"
"""


def small(tmp_path: Path, clips: int = 300) -> Corpus:
    return write_large_corpus(tmp_path / "corpus", clips, UNITS, parts=3)


@pytest.mark.parametrize("scale", ["any", "metric"])
def test_columns_judge_as_one_verdict_after_the_other(tmp_path: Path, scale) -> None:
    corpus, thresholds = small(tmp_path), parse_thresholds(ROWS)
    plan = plan_clips(corpus, thresholds, scale)
    found = {item.clip_id: (item.reason, item.detail) for item in plan.dropped}
    reasons = set()
    for clip_id, row in corpus.latest().items():
        wanted = None
        if row.status is Status.FAILED:
            wanted = (f"failed:{row.stage}/{row.code}", row.message)
        elif row.status is Status.NO_TRAJECTORY:
            wanted = (f"no_trajectory:{row.code}", row.message)
        elif scale == "metric" and row.scale_value is None:
            wanted = ("up_to_scale", found[clip_id][1])
        elif rejection := apply(thresholds, row.verdicts):
            wanted = (rejection.reason, rejection.detail)
        assert found.get(clip_id) == wanted
        reasons.add(wanted and wanted[0])
    assert {None, "threshold:fov_x", "threshold:blur", "unmeasured:blur", "threshold:speed"} <= reasons
    assert len(plan.passed) + len(plan.dropped) == 300


def test_columns_hold_every_verdict_of_the_last_row(tmp_path: Path) -> None:
    corpus = small(tmp_path, 40)
    again = LedgerRow(
        clip_id=f"{3:032x}",
        source="a.mp4",
        status=Status.OK,
        verdicts=(Verdict.measured("fov_x", 3.0, "rad"), Verdict.unmeasured("late", "s", "no clock")),
    )
    corpus.append_ledger([again])
    columns, latest = corpus.columns(), corpus.latest()
    assert columns.words("clip_id") == list(latest)
    for place, row in enumerate(latest.values()):
        listed = [column.verdict(place) for column in columns.verdicts.values()]
        assert {v.name: v for v in listed if v is not None} == {v.name: v for v in row.verdicts}
    assert list(columns.verdicts) == ["fov_x", "blur", "speed", "late"]
    np.testing.assert_array_equal(columns.numbers("frames"), [row.frames or np.nan for row in latest.values()])


def test_scores_of_other_tools_are_thresholds_like_any_other(tmp_path: Path) -> None:
    corpus = small(tmp_path, 30)
    rows = list(corpus.latest().values())
    ok = [row for row in rows if row.status is Status.OK]
    path = tmp_path / "scores.json"
    # by name and by id; the id counts
    path.write_text(
        json.dumps({"dover": {ok[0].source: 0.9, ok[1].clip_id: 0.2, ok[1].source: 0.9, ok[2].clip_id: 0.5}})
    )
    keep = parse_thresholds('[dover]\nlow = 0.35\nunmeasured = "keep"\nfrom = "scores"')
    reject = parse_thresholds('[dover]\nlow = 0.35\nunmeasured = "reject"\nfrom = "scores"')
    plan = plan_clips(corpus, keep, "any", read_scores(path))
    assert [d.clip_id for d in plan.dropped if d.reason == "threshold:dover"] == [ok[1].clip_id]
    assert plan.idle == ()
    plan = plan_clips(corpus, reject, "any", read_scores(path))
    assert [c.clip_id for c in plan.passed] == [ok[0].clip_id, ok[2].clip_id]
    assert count_reasons(plan.dropped)["unmeasured:dover"] == len(ok) - 3
    plan = plan_clips(corpus, keep, "any", NO_SCORES)
    assert (len(plan.passed), plan.idle) == (len(ok), ("dover",))
    assert any("dover" in line for line in PlanSummary.of(plan).lines())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "no JSON"),
        ("[]", "expected"),
        ('{"dover": 3}', "expected"),
        ('{"dover": {"a": "x"}}', "dover of a: expected a finite number"),
        ('{"dover": {"a": NaN}}', "finite"),
        ('{"dover": {"a": true}}', "finite"),
        ('{"dover": {"elsewhere.mp4": 1}}', "clips of this corpus"),
        ('{"blur": {"spatialvid/000000.mp4": 1}}', "names that no filter has, got blur"),
    ],
)
def test_wrong_scores_are_one_line(text: str, word: str, tmp_path: Path) -> None:
    corpus = small(tmp_path, 30)
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(InputError, match=word) as caught:
        plan_clips(corpus, parse_thresholds(ROWS), "any", read_scores(path))
    assert "\n" not in str(caught.value)


def test_trying_thresholds_writes_nothing_and_counts_every_clip(tmp_path: Path) -> None:
    corpus = write_large_corpus(tmp_path / "corpus", 200, {config.name: "" for config in FILTERS})
    before = sorted(path for path in tmp_path.rglob("*"))
    tried = try_thresholds(corpus.path, BuildOptions(thresholds="sana-wm/spatialvid-hq"))
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert tried.clips == 200 == tried.passed + sum(tried.dropped.values())
    assert tried.idle == ("dover", "vlm_entities", "vlm_quality")
    assert tried.exit_code == (0 if tried.passed else 1)
    assert json.loads(json.dumps(tried.to_json()))["clips"] == 200
