"""Every file of awkward/ against what its manifest says PyAV measured; each difference is listed with its reason."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.awkward_files import FAILS
from wmkit.errors import ClipError
from wmkit.video import DecodeFacts, FrameSource, VideoConfig, discover, identify, open_source

# (frames, first pts, last pts, size) where the manifest's own measurement stops short or looks elsewhere.
STOPPED_AT_ERROR = "the manifest stopped at the first decode error; ours notes it, goes on and drains the decoder"
DIFFERS = {
    "ax_invalid_nalu.mp4": ((29, 0.0, 0.9676, (1080, 720)), STOPPED_AT_ERROR),
    "decord_corrupted.mp4": ((49, 0.0, 4.9, (1280, 720)), STOPPED_AT_ERROR),
    "trunc_faststart.mp4": ((30, 0.0, 0.9676, (480, 270)), STOPPED_AT_ERROR),
    "raw_elementary.h264": ((60, 0.0, 1.9686, (480, 270)), "no pts in the manifest; the bitstream states 30000/1001"),
    "tc_nasa_multistream.mp4": ((390, 0.0, 12.9796, (480, 270)), "the manifest measured stream 0, not the best one"),
}
DAMAGED = {"decord_corrupted.mp4": 1}
IMAGE_FOLDERS = {"seq_ok": 12, "seq_gaps_unpadded": 8}


@dataclass(frozen=True)
class Opened:
    """One file's source, or the error it ended with."""

    source: FrameSource | None
    error: ClipError | None


@pytest.fixture(scope="module")
def manifest(shared_data: Path) -> dict[str, dict]:
    folder = shared_data / "awkward"
    parts = [json.loads((folder / f"awkward_{part}_manifest.json").read_text()) for part in ("derived", "real")]
    return parts[0] | parts[1]


@pytest.fixture(scope="module")
def opened(shared_data: Path) -> dict[str, Opened]:
    """Everything discovery finds, and the one file that it leaves to be named."""
    folder = shared_data / "awkward"
    outcomes = {}
    for found in (*discover([folder]).clips, *discover([folder / "tc_audio_only.mp3"]).clips):
        try:
            outcomes[found.name] = Opened(open_source(identify(found), VideoConfig(max_side=320)), None)
        except ClipError as error:
            outcomes[found.name] = Opened(None, error)
    return outcomes


def facts_in(opened: dict[str, Opened]) -> Iterator[tuple[str, DecodeFacts]]:
    for name, outcome in opened.items():
        if outcome.source is not None:
            yield name, outcome.source.facts


def test_every_file_has_an_outcome(manifest: dict, opened: dict[str, Opened]) -> None:
    assert sorted(opened) == sorted(manifest)


def test_failures_are_the_expected_ones(opened: dict[str, Opened]) -> None:
    errors = {name: outcome.error for name, outcome in opened.items() if outcome.error is not None}
    assert {name: error.code for name, error in errors.items()} == FAILS
    assert {error.stage for error in errors.values()} == {"decode"}
    for name, error in errors.items():
        assert error.message.startswith(f"{name}: expected"), error.message
        assert "\n" not in error.message


def test_frames_sizes_and_times(manifest: dict, opened: dict[str, Opened]) -> None:
    for name, facts in facts_in(opened):
        if name in IMAGE_FOLDERS:
            continue
        row = manifest[name]
        expected = (row["pyav_frames"], row.get("first_pts"), row.get("last_pts"), tuple(row["size"]))
        if name in DIFFERS:
            assert expected != DIFFERS[name][0], f"{name}: no longer differs from the manifest"
            expected = DIFFERS[name][0]
        got = (
            len(facts.pts_s),
            round(float(facts.pts_s[0]), 4),
            round(float(facts.pts_s[-1]), 4),
            (facts.decoded_width, facts.decoded_height),
        )
        assert got == expected, name


def test_intervals(manifest: dict, opened: dict[str, Opened]) -> None:
    for name, facts in facts_in(opened):
        if name in DIFFERS or name in IMAGE_FOLDERS:
            continue
        steps = np.diff(facts.pts_s)
        got = [steps.min(), np.median(steps), steps.max()]
        # the manifest rounds to five places
        np.testing.assert_allclose(got, manifest[name]["dt_min_med_max"], rtol=0, atol=6e-6, err_msg=name)


def test_rotation_codec_and_format(manifest: dict, opened: dict[str, Opened]) -> None:
    for name, facts in facts_in(opened):
        if name in IMAGE_FOLDERS:
            continue
        assert facts.codec == manifest[name]["codec"], name
        assert facts.pixel_format == manifest[name]["pix_fmt"], name
        # the manifest keeps FFmpeg's counter-clockwise angle
        assert facts.rotation_deg == -manifest[name]["rotation"] % 360, name


def test_damage_and_errors(manifest: dict, opened: dict[str, Opened]) -> None:
    noted = {name for name, facts in facts_in(opened) if facts.errors}
    with_errors = {name for name, row in manifest.items() if "decode_error" in row and name not in FAILS}
    assert noted == with_errors | {"raw_elementary.h264"}
    assert {name: int(facts.corrupt.sum()) for name, facts in facts_in(opened) if facts.corrupt.any()} == DAMAGED


def test_upright_sizes(opened: dict[str, Opened]) -> None:
    """What a player shows: turned, with square pixels."""
    sizes = {name: item.source.facts.upright_size for name, item in opened.items() if item.source is not None}
    assert sizes["ax_portrait_4k60.mp4"] == (2160, 3840)
    assert sizes["sar_anamorphic.mp4"] == (480, 270)
    assert sizes["ax_firstpts_10s.mp4"] == (1137, 640)
    assert sizes["rot90.mp4"] == (270, 477)  # stored 480x270 with pixels 159:160


def test_image_folders(manifest: dict, opened: dict[str, Opened]) -> None:
    for name, count in IMAGE_FOLDERS.items():
        source = opened[name].source
        assert source is not None
        assert len(source.facts.pts_s) == len(manifest[name]["files"]) == count
        np.testing.assert_array_equal(source.facts.pts_s, np.arange(count) / 16)


def test_windows_deliver_what_the_view_promises(opened: dict[str, Opened]) -> None:
    """A second pass over the files whose first pass was eventful."""
    for name in (*DIFFERS, "vfr_dropped.mp4", "rot90.mp4", "mpeg2_interlaced.ts", "ax_mvhevc_stereo.mov", "anim.gif"):
        source = opened[name].source
        assert source is not None
        windows = list(source.windows())
        assert sum(len(window.rgb) for window in windows) == len(source.view), name
        assert windows[0].rgb.shape[1:] == (source.view.height, source.view.width, 3), name
        assert all(picture.std() > 1 for window in windows for picture in window.rgb), f"{name}: a blank picture"
