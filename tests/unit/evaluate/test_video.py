"""`eval_video` with an engine that answers at once: figures, matching, what is unmeasured and what is wrong."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bench_doubles import FRAMES, BrightnessPoseConfig, arc, config_of, write_images, write_poses
from wmkit import cli
from wmkit.annotate import isolated
from wmkit.annotate.pipeline import AnnotateConfig, AnnotateResult, annotate_clip
from wmkit.annotate.scale import ScaleFactorConfig
from wmkit.camera_paths import rotation_from_angles
from wmkit.errors import InputError
from wmkit.evaluate import video as evaluate
from wmkit.evaluate.pictures import PICTURE_FIGURES
from wmkit.evaluate.report import FIGURES, EvalReport
from wmkit.evaluate.video import eval_video, match_frames
from wmkit.video import ClipFile

ROUNDING = 1e-6  # float64 through an alignment, degrees and units of a few


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve images filmed along `arc`, at 16 frames a second."""
    write_images(tmp_path / "clip" / "images")
    return tmp_path / "clip" / "images"


def requested(folder: Path, poses: NDArray[np.float64], **arrays: Any) -> Path:
    """A trajectory file as `wmkit sample` writes it."""
    path = folder / "asked.npz"
    np.savez(path, world_from_cam=poses, **arrays)
    return path


def judge(clip: Path, poses: NDArray[np.float64], pose: BrightnessPoseConfig | None = None) -> EvalReport:
    return eval_video(clip, requested(clip.parent, poses), config_of(pose))


def test_the_asked_path_driven_is_no_error_whatever_its_unit_and_world(clip: Path) -> None:
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = rotation_from_angles(40, 10, 5), (3, -2, 7)
    report = judge(clip, world @ arc())
    assert (report.frames, report.judged, report.posed) == (FRAMES, FRAMES, FRAMES)
    assert (report.problem, report.exit_code, report.scale) == ("", 0, "up_to_scale")
    for name in FIGURES:
        if name == "path_length":
            expected = np.linalg.norm(np.diff(arc()[:, :3, 3], axis=0), axis=1).sum()
            assert report.value(name) == pytest.approx(expected)
        elif name.endswith(("_metric", "_absolute")):
            assert "up_to_scale" in report.unmeasured[name]
        elif name in PICTURE_FIGURES:
            assert name in report.unmeasured, "the double's frames are of one colour, its path is an arc"
        else:
            assert report.value(name) == pytest.approx(0, abs=ROUNDING), name
    assert set(report.metrics) | set(report.unmeasured) == set(FIGURES)


def test_two_metric_paths_are_judged_in_metres_too(clip: Path) -> None:
    config = dataclasses.replace(config_of(), scale=(ScaleFactorConfig(factor=4.4),))  # the engine's unit is 4 m
    report = eval_video(clip, write_poses(clip.parent, arc()), config)
    assert report.scale == "metric"
    assert set(report.unmeasured) == set(PICTURE_FIGURES)
    assert "comes back nowhere" in report.unmeasured["revisit_psnr"]
    reach = np.linalg.norm(arc()[:, :3, 3] - arc()[0, :3, 3], axis=1)
    assert report.value("trans_err_metric") == pytest.approx(0.1 * reach.mean())  # 10 % too large
    assert report.metrics["trans_err_metric"].unit == "m"
    assert report.value("trans_err_cami2v_absolute") == pytest.approx(0.1 * reach.sum() / reach.max())
    assert report.value("trans_err_cami2v_relative") == pytest.approx(0, abs=ROUNDING)


def test_errors_are_those_made(clip: Path) -> None:
    """A camera that turns 3 degrees too far in the second half."""
    poses = arc()
    poses[6:, :3, :3] = poses[6:, :3, :3] @ rotation_from_angles(3.0, 0.0, 0.0)
    report = judge(clip, poses)
    assert report.value("rot_err_cami2v_relative") == pytest.approx(np.radians(3.0) * 6)
    assert report.value("trans_err_cami2v_relative") == pytest.approx(0, abs=ROUNDING)
    assert report.value("rot_err_sana_wm_paper") == pytest.approx(1.5)  # positions agree: no rotation is taken out
    assert report.value("rot_err_sana_wm_code") == pytest.approx(1.5)  # the mean rotation splits it: 1.5 everywhere
    assert report.value("rotation_error") == pytest.approx(1.5)
    drifting = judge(clip, arc(), BrightnessPoseConfig(drift_m=0.1))
    assert (drifting.value("trans_err_cami2v_relative") or 0) > 0.1
    assert (drifting.value("ate_sim3") or 0) > 0.01
    assert drifting.value("rot_err_cami2v_relative") == pytest.approx(0, abs=ROUNDING)


def test_only_the_pixels_reach_the_engine(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def look_around(file: ClipFile, config: AnnotateConfig) -> AnnotateResult:
        folder = Path(file.path).parent
        seen.append(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")))
        return annotate_clip(file, config)

    monkeypatch.setattr(evaluate, "annotate_clip", look_around)
    write_poses(clip.parent, arc())
    shutil.copy(clip.parent / "poses.json", clip / "poses.json")
    report = eval_video(clip, clip.parent / "poses.json", config_of())
    assert seen == [["clip", *(f"clip/{index:04d}.png" for index in range(FRAMES))]]
    assert report.metrics["ate_sim3"].unit == "m"  # poses.json says so


@pytest.mark.parametrize(
    ("pose", "said"),
    [
        (BrightnessPoseConfig(outcome="no_trajectory"), "no camera trajectory in the video: static, made to see"),
        (BrightnessPoseConfig(outcome="clip_error"), "pose/boom: made to fail"),
        (BrightnessPoseConfig(unposed=(1, 5, 7)), "at least 80% of the 12 judged frames, found 9"),
    ],
)
def test_what_cannot_be_measured_says_why(pose: BrightnessPoseConfig, said: str, clip: Path) -> None:
    report = judge(clip, arc(), pose)
    assert report.exit_code == 1
    assert said in report.problem
    assert report.metrics == {}
    assert set(report.unmeasured) == set(FIGURES)
    assert report.lines()[-1] == f"UNMEASURED: {report.problem}"


def test_two_lost_frames_of_twelve_leave_it_measured(clip: Path) -> None:
    report = judge(clip, arc(), BrightnessPoseConfig(unposed=(1, 5)))
    assert (report.posed, report.exit_code) == (10, 0)
    assert report.metrics["rotation_error"].count == 10


def test_a_still_request_is_unmeasured_without_running_the_annotator(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "annotate_clip", None)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, :3, 3] = (100.0, 2.0, 3.0)
    report = judge(clip, poses)
    assert report.problem == "the requested camera does not move"
    assert report.exit_code == 1


def test_a_straight_request_leaves_out_the_one_convention_it_cannot_bear(clip: Path) -> None:
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, 2, 3] = np.arange(FRAMES)
    report = judge(clip, poses)
    assert "one line" in report.unmeasured["rot_err_sana_wm_paper"]
    assert (report.value("rot_err_sana_wm_code") or 0) > 1
    assert report.exit_code == 0


def test_frames_and_poses_of_another_count_meet_by_time(clip: Path) -> None:
    every_second = requested(clip.parent, arc()[::2], time_s=100 + np.arange(0, FRAMES, 2) / 16)
    report = eval_video(clip, every_second, config_of())
    assert (report.frames, report.judged, report.posed) == (FRAMES, 6, 6)
    assert report.value("rot_err_cami2v_relative") == pytest.approx(0, abs=ROUNDING)


def test_match_frames() -> None:
    frames_s = np.arange(10) / 32
    np.testing.assert_array_equal(match_frames(frames_s + 5, frames_s), np.arange(10))
    np.testing.assert_array_equal(match_frames(np.arange(5) / 16, frames_s), [0, -1, 1, -1, 2, -1, 3, -1, 4, -1])
    dense = match_frames(np.arange(19) / 64, frames_s)
    np.testing.assert_array_equal(dense, np.arange(10) * 2)
    with pytest.raises(InputError, match=r"as the video, got 10 poses over 0\.562 s for 10 frames over 0\.281 s"):
        match_frames(np.arange(10) / 16, frames_s)
    bunched_s = np.concatenate([np.arange(9) * 1e-4, [9 / 32]])  # as long as the video, but all poses at its ends
    with pytest.raises(InputError, match="only 2 of 10"):
        match_frames(bunched_s, frames_s)


def test_files_that_do_not_fit_are_named_in_one_line(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"asked\.npz: expected one pose a frame \(12\), got 7 and no times .*; cut the longer"
    ):
        judge(clip, arc()[:7])
    short = requested(clip.parent, arc()[:7], time_s=np.arange(7) / 16)
    with pytest.raises(InputError, match=r"asked\.npz: .* as long as the video"):
        eval_video(clip, short, config_of())
    no_video = tmp_path / "notes.mp4"
    no_video.write_text("no video")
    with pytest.raises(InputError, match="playable video"):
        eval_video(no_video, requested(tmp_path, arc()), config_of())
    write_images(tmp_path / "clip" / "more")
    with pytest.raises(InputError, match="expected one video, found 2"):
        eval_video(tmp_path / "clip", requested(tmp_path, arc()), config_of())
    with pytest.raises(InputError, match="check the path"):
        eval_video(tmp_path / "nowhere.mp4", requested(tmp_path, arc()), config_of())


def test_lines_define_every_figure_they_show(clip: Path) -> None:
    lines = judge(clip, arc()).lines()
    text = "\n".join(lines)
    assert lines[0].endswith("12 frames, 12 judged, 12 posed, 0 lost; estimate up_to_scale")
    assert lines[1].split() == ["convention", "RotErr", "TransErr", "CamMC"]
    for convention in ("cami2v_relative", "sana_wm_paper", "sana_wm_code"):
        assert f"{convention}: " in text
    assert "cami2v_absolute, metric: UNMEASURED: " in text
    assert "chordal" in text
    assert max(map(len, lines[1:])) <= 160


def test_json_keys_are_frozen(clip: Path) -> None:
    loaded = json.loads(json.dumps(judge(clip, arc()).to_json(), allow_nan=False))
    assert list(loaded) == [
        *("wmkit", "video", "trajectory", "annotator", "frames", "judged", "posed", "lost", "scale", "metrics", "grid"),
        *("controls", "unmeasured", "note", "problem", "exit_code"),
    ]
    assert set(loaded["metrics"]) | set(loaded["unmeasured"]) == {
        *(
            f"{figure}_{convention}"
            for figure in ("rot_err", "trans_err", "cam_mc")
            for convention in ("cami2v_relative", "cami2v_absolute", "sana_wm_paper", "sana_wm_code", "metric")
        ),
        *("ate_sim3", "rotation_error", "rpe_translation", "rpe_rotation", "path_length"),
        *("revisit_psnr", "revisit_ssim", "sharpness_drop", "contrast_drop"),
    }
    assert set(loaded["metrics"]["ate_sim3"]) == {"value", "unit", "count", "definition"}


def test_the_verb(clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(evaluate, "camera_config", config_of)
    asked = requested(clip.parent, arc())
    assert cli.main(["eval", str(clip), "--trajectory", str(asked)]) == 0
    assert "RotErr" in capsys.readouterr().out
    assert cli.main(["eval", str(clip), "--trajectory", str(asked), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["posed"] == FRAMES
    blind = config_of(BrightnessPoseConfig(outcome="no_trajectory"))
    monkeypatch.setattr(evaluate, "camera_config", lambda: blind)
    assert cli.main(["eval", str(clip), "--trajectory", str(asked)]) == 1
    assert "UNMEASURED: no camera trajectory" in capsys.readouterr().out
    poses = arc()
    poses[3] = np.nan
    assert cli.main(["eval", str(clip), "--trajectory", str(requested(clip.parent, poses))]) == 2
    assert "first: frame 3" in capsys.readouterr().err


def test_the_default_is_every_frame_and_pose_alone() -> None:
    assert evaluate.camera_config is isolated.camera_config
