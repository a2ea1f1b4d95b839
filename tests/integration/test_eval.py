"""`wmkit eval` with the real engine: a rendered video is near its truth, and far from any other path."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from wmkit import cli
from wmkit.camera import Intrinsics
from wmkit.evaluate.video import eval_video
from wmkit.formats.poses_json import read_poses_json
from wmkit.video.encode import write_mp4
from wmkit.worlds import SMALL_CLIPS, write_world

CLIP = dataclasses.replace(SMALL_CLIPS[0], name="room", intrinsics=Intrinsics.from_fov(70.0, 240, 144))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """room.mp4 of 12 frames and truth/room.poses.json."""
    root = tmp_path_factory.mktemp("room")
    write_world(CLIP, root)
    return root


def test_a_rendered_video_is_near_its_truth_and_far_from_the_way_back(room: Path, tmp_path: Path) -> None:
    truth = room / "truth" / "room.poses.json"
    track = read_poses_json(truth)
    report = eval_video(room / "room.mp4", truth)
    assert (report.posed, report.judged, report.exit_code) == (12, 12, 0)
    # three times what 12 frames of 240x144 px give (0.48 degrees, 3 mm); the orbit is 25 degrees and 1 m
    assert (report.value("rotation_error") or 9) < 1.5
    assert (report.value("rot_err_sana_wm_code") or 9) < 1.5
    assert (report.value("trans_err_sana_wm_code") or 9) < 0.01
    assert report.metrics["trans_err_sana_wm_code"].unit == "m"

    back = tmp_path / "back.npz"
    np.savez(back, world_from_cam=track.world_from_cam[::-1])
    wrong = eval_video(room / "room.mp4", back)
    for name in ("rot_err_cami2v_relative", "trans_err_cami2v_relative", "rotation_error"):
        assert (wrong.value(name) or 0) > 10 * (report.value(name) or 9), name
    assert "do not correspond" in wrong.unmeasured["rot_err_sana_wm_code"]


def test_a_truth_beside_the_video_changes_nothing(room: Path, tmp_path: Path) -> None:
    truth = room / "truth" / "room.poses.json"
    shutil.copy(room / "room.mp4", tmp_path / "room.mp4")
    alone = eval_video(room / "room.mp4", truth)
    shutil.copy(truth, tmp_path / "poses.json")
    beside = eval_video(tmp_path / "room.mp4", tmp_path / "poses.json")
    assert [m.value for m in beside.metrics.values()] == [m.value for m in alone.metrics.values()]


def test_noise_is_unmeasured_and_exit_1(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 96, 160, 3), dtype=np.uint8)
    write_mp4(tmp_path / "noise.mp4", noise, 16, (160, 96))
    truth = room / "truth" / "room.poses.json"
    assert cli.main(["eval", str(tmp_path / "noise.mp4"), "--trajectory", str(truth)]) == 1
    assert "UNMEASURED: no camera trajectory in the video" in capsys.readouterr().out
