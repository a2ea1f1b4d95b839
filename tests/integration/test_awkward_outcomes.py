"""Every awkward file gets the outcome that its manifest implies: a failure by code, a rejection by name, or a pass."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.awkward_files import CONTENT, FAILS, REJECTED
from wmkit.annotate.defaults import default_config
from wmkit.annotate.filters import FOOTAGE_FILTERS
from wmkit.annotate.pipeline import annotate_clip
from wmkit.clip import Verdict
from wmkit.errors import ClipError
from wmkit.thresholds import Thresholds, apply, read_thresholds
from wmkit.video import VideoConfig, discover, identify

CONFIG = default_config(video=VideoConfig(max_side=320), depth=None, stop_after="footage")
NAMES = {config.name for config in FOOTAGE_FILTERS}


def rejected_by(verdicts: tuple[Verdict, ...]) -> set[str]:
    """Default rows of footage filters that reject a clip with these verdicts."""
    rows = [row for row in read_thresholds().rows if row.filter in NAMES]
    return {row.filter for row in rows if apply(Thresholds(rows=(row,), packaged=True), verdicts) is not None}


@pytest.fixture(scope="module")
def outcomes(shared_data: Path) -> dict[str, str | tuple[Verdict, ...]]:
    """Of every file: the code it fails with, or its verdicts."""
    folder = shared_data / "awkward"
    found: dict[str, str | tuple[Verdict, ...]] = {}
    for clip in (*discover([folder]).clips, *discover([folder / "tc_audio_only.mp3"]).clips):
        try:
            found[clip.name] = annotate_clip(identify(clip), CONFIG).annotation.verdicts
        except ClipError as error:
            found[clip.name] = error.code
    return found


@pytest.mark.timeout(600)  # 25 core-s: a busy machine takes minutes
def test_every_file_of_the_manifests_has_its_outcome(shared_data: Path, outcomes: dict) -> None:
    manifest = {}
    for part in ("derived", "real"):
        manifest |= json.loads((shared_data / "awkward" / f"awkward_{part}_manifest.json").read_text())
    assert sorted(outcomes) == sorted(manifest)
    assert {name: code for name, code in outcomes.items() if isinstance(code, str)} == FAILS
    rejected = {name: rejected_by(found) for name, found in outcomes.items() if not isinstance(found, str)}
    assert {name: rows for name, rows in rejected.items() if rows} == REJECTED | CONTENT


def test_frames_shown_twice_are_delivered_once(shared_data: Path) -> None:
    """60 frames a second, every one twice: at 16 a second each is another picture, at the native rate half are none."""
    (found,) = discover([shared_data / "awkward" / "dup_frames.mp4"]).clips
    every = dataclasses.replace(CONFIG, video=VideoConfig(max_side=320, fps=None))
    sampled, native = (annotate_clip(identify(found), config).annotation.verdicts for config in (CONFIG, every))
    assert rejected_by(sampled) == set()
    assert "duplicate_share" in rejected_by(native)
