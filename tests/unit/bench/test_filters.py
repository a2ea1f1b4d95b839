"""`wmkit bench filters`: which cases run, one case end to end, and the arithmetic of the report."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from wmkit.annotate.defaults import default_config
from wmkit.bench import filters
from wmkit.bench.filters import FilterCase, FiltersOptions, run_case
from wmkit.bench.filters_material import REAL_CLIPS, SEEDS, Material, MaterialKey, fitted, material
from wmkit.bench.filters_report import FiltersReport
from wmkit.errors import InputError
from wmkit.thresholds import read_thresholds
from wmkit.video import VideoConfig
from wmkit.worlds.defects import DEFECTS, Footage


def test_seeds_and_clips_of_tuning_and_evaluation_are_apart() -> None:
    ranges = [range(seeds.first, seeds.first + seeds.count) for seeds in SEEDS.values()]
    assert not set(ranges[0]) & set(ranges[1])
    assert not set(range(3000, 3135)) & (set(ranges[0]) | set(ranges[1]))  # those that p_good was fitted to
    paths = [clip.path for clip in REAL_CLIPS]
    assert len(set(paths)) == len(paths)
    assert {clip.use for clip in REAL_CLIPS} == set(SEEDS)


def test_every_planted_case_has_its_sound_twin() -> None:
    cases = FiltersOptions(per_defect=4, sound=6, real=None).cases
    assert len({case.name for case in cases}) == len(cases)
    sound = {(case.needs, case.key.index) for case in cases if case.defect == "sound"}
    for defect in DEFECTS:
        own = [case for case in cases if case.defect == defect.name]
        assert [case.key.index for case in own] == [0, 1, 2, 3]
        assert defect.family or {(case.needs, case.key.index) for case in own} <= sound
    assert {need for need, _ in sound} == {"footage", "cameras", "labels"}
    assert len([need for need, _ in sound if need == "footage"]) == 6
    later = FiltersOptions(per_defect=1, sound=0, first=7, only=("blur",)).cases
    assert [case.name for case in later] == ["sound-footage-world-0007", "blur-footage-world-0007"]
    only = FiltersOptions(per_defect=2, only=("zoom",)).cases
    assert [case.name for case in only] == [
        "sound-cameras-world-0000",
        "zoom-cameras-world-0000",
        "sound-cameras-world-0001",
        "zoom-cameras-world-0001",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"only": ("hard_cut", "yoyo")}, "--only: expected some of hard_cut.*got yoyo"),
        ({"per_defect": 0}, "--per-defect"),
        ({"sound": 501}, "numbers below 500"),
        ({"first": 480, "per_defect": 30, "sound": 0}, "numbers below 500"),
        ({"first": -1}, "--first"),
        ({"use": "luck"}, "--seeds"),
        ({"real": Path("/nowhere")}, "--real /nowhere: expected the real clips"),
    ],
)
def test_options_refuse(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FiltersOptions(**change)


def sliding(seed: int) -> Footage:
    """A wall of blocks that slides by 3 px a frame, at 10 frames a second."""
    wall = np.random.default_rng(seed).integers(30, 220, (24, 70, 3)).repeat(6, axis=0).repeat(6, axis=1)
    rgb = np.stack([wall[:, 3 * k : 3 * k + 256] for k in range(30)]).astype(np.uint8)
    poses = np.tile(np.eye(4), (30, 1, 1))
    return Footage(
        rgb=rgb, time_s=np.arange(30) / 10, world_from_cam=poses, intrinsics=np.tile([200.0, 200, 128, 72], (30, 1))
    )


@pytest.mark.parametrize(
    ("defect", "filter_name"),
    [
        ("sound", None),
        ("hard_cut", "hard_cut"),
        ("duplicated", "duplicate_share"),
        ("frozen", "frozen_s"),
        ("letterbox", "letterbox_share"),
        ("black_frames", "blank_share"),
        ("time_gap", "time_gap"),
        ("frame_rate_jitter", "frame_rate_jitter"),
        ("slow_motion", "play_speed"),
    ],
)
def test_a_case_goes_through_the_annotator(defect: str, filter_name: str | None, monkeypatch) -> None:
    monkeypatch.setattr(filters, "material", lambda key: Material(name=f"wall {key.index}", footage=sliding(key.index)))
    case = FilterCase(
        defect=defect, needs="footage", key=MaterialKey(kind="world", use="tuning", index=0, needs="footage")
    )
    row = run_case(case, default_config(video=VideoConfig(fps=None), depth=False))
    json.dumps(row, allow_nan=False)
    report = FiltersReport(rows=(row,), thresholds=read_thresholds())
    reasons = report.reasons(row)
    assert (row["outcome"], row["material"]) == ("measured", "wall 0")
    assert reasons == () if filter_name is None else filter_name in reasons


def test_a_world_is_sound_footage_of_its_own_seeds() -> None:
    key = MaterialKey(kind="world", use="tuning", index=1)
    world = material(key)
    assert world.name.startswith("orbit-small-02")
    assert world.film is not None
    assert world.footage.time_s[-1] >= 2.1  # a zoom of two seconds fits in
    assert material(dataclasses.replace(key, use="evaluation")).name.startswith("orbit-small-04")


def test_a_real_clip_is_cut_into_windows_with_their_labels(shared_data: Path) -> None:
    key = MaterialKey(kind="real", use="tuning", index=7, needs="labels", real=str(shared_data))
    window = material(key).footage
    assert window.world_from_cam is not None
    assert window.intrinsics is not None
    assert len(window.rgb) <= 36
    assert all(side % 2 == 0 for side in window.rgb.shape[1:3])  # H.264
    assert window.fps <= 16.5
    np.testing.assert_array_equal(material(key).footage.rgb, window.rgb)


def test_another_shot_is_fitted_without_stretching() -> None:
    wide = Footage(rgb=np.zeros((9, 50, 100, 3), np.uint8), time_s=np.arange(9) / 8)
    wide.rgb[:, :, 50:] = 200
    small = Footage(rgb=np.zeros((5, 40, 40, 3), np.uint8), time_s=np.arange(5) / 8)
    other = fitted(wide, small)
    assert other.rgb.shape == small.rgb.shape
    assert other.rgb[0, :, :19].max() == 0  # the middle stays the middle
    assert other.rgb[0, :, 21:].min() == 200


def row(defect: str, index: int, verdicts: dict | None = None, **changes) -> dict:
    needs = {d.name: d.needs for d in DEFECTS}.get(defect, "footage")
    made = {"case": f"{defect}-{needs}-world-{index:04d}", "defect": defect, "needs": needs, "kind": "world"}
    made |= {"use": "tuning", "outcome": "measured", "good": None, "verdicts": {"hard_cut": 0.0} | (verdicts or {})}
    return made | changes


def test_the_report_by_hand() -> None:
    camera = {"fov_x": 60.0, "fov_y": 40.0, "focal_divergence": 0.0, "posed_ratio": 1.0}
    rows = (
        row("sound", 0),
        row("sound", 1, {"blur": 0.9}),  # a false reject, whose defects say nothing
        row("sound", 2, {"blur": None}),
        row("hard_cut", 0, {"hard_cut": 1.0, "exposure_jump": 2.0}),
        row("hard_cut", 1, {"hard_cut": 1.0}),
        row("hard_cut", 2),  # missed
        row("mirrored", 0),
        row("sound", 0, camera, needs="cameras", case="sound-cameras-world-0000", good=True),
        row("sound", 1, camera | {"p_good": 0.1}, needs="cameras", case="sound-cameras-world-0001", good=True),
        row("sound", 2, camera | {"p_good": 0.1}, needs="cameras", case="sound-cameras-world-0002", good=False),
        row("zoom", 0, outcome="no_trajectory", reason="no_model"),
        row("zoom", 2, camera),  # its twin has wrong cameras and is rejected
        row("static", 0, outcome="no_trajectory", reason="static"),
    )
    report = FiltersReport(rows=rows, thresholds=read_thresholds())
    share, void, by = report.recall("hard_cut")
    assert (share.hits, share.total, void, dict(by)) == (1, 2, 1, {"hard_cut": 1, "exposure_jump": 1})
    share, void, by = report.recall("zoom")
    assert (share.hits, share.total, void, dict(by)) == (1, 1, 1, {"no_trajectory:no_model": 1})
    assert report.recall("static")[0].hits == 1
    share, by = report.false_rejects("footage")
    assert (share.hits, share.total, dict(by)) == (1, 3, {"blur": 1})
    share, by = report.false_rejects("cameras")  # the one with wrong cameras is rejected rightly
    assert (share.hits, share.total, dict(by)) == (1, 2, {"p_good": 1})
    assert (report.overall.hits, report.overall.total) == (3, 4)  # mirrored play is outside
    assert report.exit_code == 1
    record = report.to_json()
    json.dumps(record, allow_nan=False)
    assert list(record) == [
        *("wmkit", "seeds", "cases", "defects", "overall", "sound", "thresholds", "passes"),
    ]
    text = "\n".join(report.lines())
    assert "MISSED" in text
    assert "tuning 20000 to 29999" in text
    fine = FiltersReport(rows=(rows[0], rows[3]), thresholds=read_thresholds())
    assert fine.exit_code == 0
