"""`bench_pose` with an engine that answers at once: clips, isolation, limits, exit codes, JSON and table."""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from tests.bench_doubles import (
    FRAMES,
    BrightnessPose,
    BrightnessPoseConfig,
    arc,
    config_of,
    sequence,
    write_images,
    write_poses,
)
from wmkit.annotate import isolated
from wmkit.annotate.isolated import annotate_pixels, camera_config
from wmkit.annotate.pipeline import AnnotateConfig, AnnotateResult
from wmkit.annotate.protocols import PoseEstimate
from wmkit.annotate.scale import CameraHeightConfig, GpsConfig
from wmkit.bench import peer as peer_module
from wmkit.bench import pose as bench
from wmkit.bench.limits import Cost
from wmkit.bench.peer import PeerRun
from wmkit.bench.pose import BenchOptions, bench_pose, find_clip
from wmkit.bench.report import BenchReport, EngineResult
from wmkit.bench.score import METRIC_NAMES, Estimate, Score
from wmkit.camera import CameraPrior
from wmkit.clip import NoTrajectory
from wmkit.errors import ClipError, ConfigError, InputError
from wmkit.telemetry import Sidecars
from wmkit.video import ClipFile, FrameSource, open_source

WALK = "[arc]\nposed_ratio_min = 1.0\nate_m_max = 0.02\nrotation_deg_max = 1.5\n"


def run(folder: Path, pose: BrightnessPoseConfig | None = None, limits: Path | None = None) -> BenchReport:
    """One sequence with the brightness engine."""
    return bench_pose([folder], BenchOptions(config=config_of(pose), limits=limits))


def limits_file(tmp_path: Path, text: str = WALK) -> Path:
    """A limits file."""
    path = tmp_path / "limits.toml"
    path.write_text(text)
    return path


def test_figures_of_a_known_engine(tmp_path: Path) -> None:
    report = run(sequence(tmp_path), BrightnessPoseConfig(unposed=(3,)))
    (result,) = report.sequences
    (engine,) = result.engines
    assert (engine.estimate.posed, engine.estimate.frames) == (FRAMES - 1, FRAMES)
    assert engine.score.value("ate_sim3") == pytest.approx(0, abs=1e-9)  # float64 noise in metres
    assert engine.score.value("focal_error") == pytest.approx(10)
    assert engine.score.metrics["rpe_rotation"].count == FRAMES - 3  # the pairs beside frame 3 are gone
    assert {"decode", "pose"} <= set(engine.core_seconds)
    assert report.exit_code == 0


def test_frames_are_shrunk_and_focal_lengths_still_compare(tmp_path: Path) -> None:
    options = BenchOptions(config=config_of(BrightnessPoseConfig(focal=1.0), max_side=24))
    engine = bench_pose([sequence(tmp_path)], options).sequences[0].engines[0]
    assert engine.estimate.intrinsics[0].width == 24
    assert engine.score.value("focal_error") == pytest.approx(0, abs=1e-9)  # float64 noise in %


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SnoopingPoseConfig:
    """An engine that looks at everything around the file it is given."""

    name: ClassVar[str] = "snooping"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> "SnoopingPose":
        """The engine."""
        return SnoopingPose()


class SnoopingPose:
    """Fails when anything but the clip lies in its folder or the folder above."""

    def estimate(self, frames: FrameSource, seed: int, prior: CameraPrior | None = None) -> PoseEstimate | NoTrajectory:
        """Look around, then answer as the honest engine does."""
        path = Path(frames._file.path)  # type: ignore[attr-defined]  # what an engine could get at
        assert path.resolve() == path, "a link would lead back to the reference"
        assert os.listdir(path.parent) == [path.name]
        if path.is_dir():
            assert {name.suffix for name in path.iterdir()} == {".png"}
        return BrightnessPose(BrightnessPoseConfig()).estimate(frames, seed)


def test_the_engine_finds_nothing_but_the_pixels(tmp_path: Path) -> None:
    folder = sequence(tmp_path)
    (folder / "images" / "poses.json").write_text("a trap among the images")
    (folder / "notes.txt").write_text("a trap beside them")
    config = dataclasses.replace(config_of(), pose=SnoopingPoseConfig())
    assert bench_pose([folder], BenchOptions(config=config)).exit_code == 0


def test_a_false_reference_changes_the_score_but_not_the_trajectory(tmp_path: Path) -> None:
    true, false = sequence(tmp_path / "true"), sequence(tmp_path / "false")
    lie = np.random.default_rng(0).normal(size=(FRAMES, 3))
    poses = arc()
    poses[:, :3, 3] = lie
    write_poses(false, poses)
    honest, lied = (run(folder).sequences[0].engines[0] for folder in (true, false))
    assert honest.digest is not None
    assert honest.digest == lied.digest
    assert honest.score.value("ate_sim3") == pytest.approx(0, abs=1e-9)  # float64 noise in metres
    assert (lied.score.value("ate_sim3") or 0) > 0.5  # standard deviation 1 m an axis cannot be aligned away
    (false / "poses.json").unlink()
    (tmp_path / "copy").mkdir()
    _, alone = annotate_pixels(find_clip(false, None), config_of(), tmp_path / "copy")
    trajectory = alone.annotation.trajectory
    assert trajectory is not None
    assert honest.estimate.trajectory is not None
    assert trajectory.world_from_cam.tobytes() == honest.estimate.trajectory.world_from_cam.tobytes()


def test_an_image_that_does_not_decode_shifts_nobody(tmp_path: Path) -> None:
    folder = sequence(tmp_path)
    (folder / "images" / "0004.png").write_bytes(b"no picture")
    engine = run(folder).sequences[0].engines[0]
    assert engine.estimate.frames == FRAMES - 1
    assert engine.score.value("ate_sim3") == pytest.approx(0, abs=1e-9)  # one frame off would be decimetres


def test_the_image_folder_the_reference_names_is_taken(tmp_path: Path) -> None:
    folder = sequence(tmp_path)
    write_images(folder / "right")
    assert find_clip(folder, "images").path.endswith("/images")
    with pytest.raises(InputError, match="one clip"):
        find_clip(folder, None)
    write_poses(folder, arc(), prefix="right/")
    roundabout = folder / "images" / ".."
    (result,) = run(roundabout).sequences
    assert (result.name, result.clip) == ("arc", "right")


def test_images_beside_their_reference(tmp_path: Path) -> None:
    write_images(tmp_path / "flat")
    write_poses(tmp_path / "flat", arc(), prefix="")
    assert run(tmp_path / "flat").sequences[0].clip == "flat"


def test_held_limits(tmp_path: Path) -> None:
    report = run(sequence(tmp_path), limits=limits_file(tmp_path, WALK + "[other]\nate_m_max = 1\n"))
    assert not report.missed
    assert len(report.sequences[0].checks) == 3
    assert report.limits_not_run == ("other",)
    assert report.exit_code == 0


def test_missed_limits_are_exit_1_and_a_line_each(tmp_path: Path) -> None:
    worse = BrightnessPoseConfig(unposed=(1,), drift_m=2.0)
    report = run(sequence(tmp_path), worse, limits_file(tmp_path))
    assert [check.limit for check in report.missed] == ["posed_ratio_min", "ate_m_max"]
    assert report.exit_code == 1
    missed = [line for line in report.table().splitlines() if line.startswith("MISSED")]
    assert len(missed) == 2
    assert "0.917" in missed[0]


def test_a_given_camera_height_is_a_cue_of_that_sequence_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cues = []

    def note_cues(file: ClipFile, config: AnnotateConfig) -> AnnotateResult:
        cues.append(config.scale)
        raise ClipError("pose", "boom", "made to fail")

    monkeypatch.setattr(isolated, "annotate_clip", note_cues)
    limits = limits_file(tmp_path, WALK + "[arc.given]\ncamera_height_m = 1.5\n")
    folders = [sequence(tmp_path, "arc"), sequence(tmp_path, "other")]
    bench_pose(folders, BenchOptions(config=config_of(), limits=limits))
    assert cues == [(CameraHeightConfig(height_m=1.5),), ()]


def test_given_telemetry_is_a_cue_of_that_sequence_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cues = []

    def note_cues(file: ClipFile, config: AnnotateConfig) -> AnnotateResult:
        cues.append(config.scale)
        raise ClipError("pose", "boom", "made to fail")

    monkeypatch.setattr(isolated, "annotate_clip", note_cues)
    limits = limits_file(tmp_path, WALK + "[arc.given]\nsidecars = 'auto'\n")
    bench_pose(
        [sequence(tmp_path, "arc"), sequence(tmp_path, "other")], BenchOptions(config=config_of(), limits=limits)
    )
    assert cues == [(GpsConfig(sidecars=Sidecars(source="auto", image_fps=config_of().video.image_fps)),), ()]


def test_the_second_estimate_is_charged_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what pose took, a part is told apart; the total stays."""
    whole = BrightnessPose.estimate

    def told_apart(self: BrightnessPose, frames: FrameSource, seed: int, prior: CameraPrior | None = None) -> Any:
        begun_s = time.process_time()
        while time.process_time() < begun_s + 0.05:
            pass
        return dataclasses.replace(whole(self, frames, seed, prior), core_seconds=(("second", 0.02),))  # type: ignore[type-var]

    monkeypatch.setattr(BrightnessPose, "estimate", told_apart)
    ours = run(sequence(tmp_path)).sequences[0].engines[0].core_seconds
    assert ours["pose.second"] == 0.02
    assert ours["pose"] > 0.03 - 1e-3  # of more than 0.05 in all


def test_costs_of_an_engine_by_hand() -> None:
    def engine(**core_seconds: float) -> EngineResult:
        estimate = Estimate(frames=10, source_size=(48, 32), reason="by hand")
        seconds = {name.replace("_", "."): value for name, value in core_seconds.items()}
        return EngineResult(engine="x", estimate=estimate, score=Score(metrics={}, unmeasured={}), core_seconds=seconds)

    ours, peer = engine(decode=0.5, pose=2.0, pose_second=0.8, scale=0.5), engine(features=4.0, mapping=8.0)
    assert ours.cost(peer) == Cost(pose_core_s=0.2, second_share=0.4, peer_ratio=4.0)
    assert engine(pose=2.0).cost(None) == Cost(pose_core_s=0.2, second_share=None, peer_ratio=None)
    assert ours.core_seconds_per_frame == pytest.approx(0.38), "a clip costs what it costs"


def test_a_clip_that_fails_is_a_result_and_exit_1(tmp_path: Path) -> None:
    good, bad = sequence(tmp_path, "good"), sequence(tmp_path, "arc")
    for image in (bad / "images").iterdir():
        image.write_bytes(b"no picture")
    options = BenchOptions(config=config_of(), limits=limits_file(tmp_path))
    report = bench_pose([bad, good], options)
    failed, fine = report.sequences
    assert failed.error is not None
    assert "decode" in failed.error
    assert fine.engines[0].estimate.posed == FRAMES
    assert len(report.missed) == 3  # what was not measured is not held
    assert report.exit_code == 1
    assert failed.error in report.table()


def test_an_engine_that_fails_and_one_that_sees_nothing(tmp_path: Path) -> None:
    folder = sequence(tmp_path)
    failed = run(folder, BrightnessPoseConfig(outcome="clip_error"))
    assert (failed.exit_code, failed.sequences[0].error) == (1, "pose/boom: made to fail")
    blind = run(folder, BrightnessPoseConfig(outcome="no_trajectory"))
    engine = blind.sequences[0].engines[0]
    assert engine.estimate.posed == 0
    assert set(engine.score.unmeasured) == set(METRIC_NAMES)
    assert blind.exit_code == 1  # nothing at all was measured
    assert "no trajectory (static)" in blind.table()


def test_a_reference_of_other_images_is_that_sequences_failure(tmp_path: Path) -> None:
    folder = sequence(tmp_path)
    path = folder / "poses.json"
    path.write_text(path.read_text().replace(".png", ".jpg"))
    report = run(folder)
    assert "none matches" in str(report.sequences[0].error)
    assert report.exit_code == 1


def test_everything_is_checked_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sequence(tmp_path)
    ran: list[Any] = []
    monkeypatch.setattr(isolated, "annotate_clip", lambda *args: ran.append(args))
    config = config_of()
    wrong_name = limits_file(tmp_path, "[ark]\nate_m_max = 1")
    (tmp_path / "bare").mkdir()
    (tmp_path / "no_clip").mkdir()
    write_poses(tmp_path / "no_clip", arc())
    cases: list[tuple[list[Path], BenchOptions, type[Exception], str]] = [
        ([], BenchOptions(config=config), InputError, "at least one folder"),
        ([folder, tmp_path / "gone"], BenchOptions(config=config), InputError, "gone"),
        ([folder, tmp_path / "bare"], BenchOptions(config=config), InputError, "poses.json"),
        ([folder, tmp_path / "no_clip"], BenchOptions(config=config), InputError, "no clip"),
        ([folder, sequence(tmp_path / "twin")], BenchOptions(config=config), InputError, "rename"),
        ([folder], BenchOptions(config=config, peer="colmap"), InputError, "pycolmap"),
        ([folder], BenchOptions(config=config, limits=tmp_path / "gone.toml"), InputError, "--limits"),
        (
            [folder],
            BenchOptions(config=config, limits=wrong_name),
            InputError,
            "ark",
        ),
        ([folder], BenchOptions(config=config, out=folder / "poses.json" / "x.json"), InputError, "--out"),
    ]
    for folders, options, kind, message in cases:
        with pytest.raises(kind, match=message):
            bench_pose(folders, options)
    with pytest.raises(ConfigError):
        bench_pose([folder], BenchOptions(config=config, limits=limits_file(tmp_path, "[arc]\nspeed = 1")))
    assert not ran


def test_json_keys_are_frozen(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "bench.json"
    options = BenchOptions(config=config_of(), limits=limits_file(tmp_path), out=out)
    report = bench_pose([sequence(tmp_path)], options)
    loaded = json.loads(out.read_text())
    assert loaded == json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert set(loaded) == {"wmkit", "sequences", "limits_missed", "limits_not_run", "exit_code"}
    (entry,) = loaded["sequences"]
    assert set(entry) == {"name", "clip", "reference", "error", "engines", "peer_cost_ratio", "limits"}
    (engine,) = entry["engines"]
    assert set(engine) == {
        *("engine", "frames", "posed", "scale", "no_trajectory", "metrics", "unmeasured"),
        *("core_seconds", "core_seconds_per_frame", "trajectory_sha256"),
    }
    assert set(engine["metrics"]) | set(engine["unmeasured"]) == set(METRIC_NAMES)
    assert set(engine["metrics"]["ate_sim3"]) == {"value", "unit", "count", "definition"}
    assert set(entry["limits"][0]) == {"limit", "held", "line"}
    assert (
        *("path_length", "ate_sim3", "ate_percent", "ate_se3", "scale_error"),
        *("net_displacement_error", "path_length_error", "scale_interval"),
        *("rotation_error", "rpe_translation", "rpe_rotation", "focal_error"),
    ) == METRIC_NAMES


def test_an_earlier_json_is_replaced(tmp_path: Path) -> None:
    out, folder = tmp_path / "bench.json", sequence(tmp_path)
    for _ in range(2):
        bench_pose([folder], BenchOptions(config=config_of(), out=out))
    assert json.loads(out.read_text())["exit_code"] == 0


def test_the_peer_stands_beside_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_model(name: str, frames: FrameSource) -> PeerRun:
        estimate = Estimate(frames=len(frames.view), source_size=(48, 32), reason="no_model")
        return PeerRun(name=name, version="4", estimate=estimate, timings={"features": 3.0, "mapping": 9.0})

    monkeypatch.setattr(bench, "run_peer", no_model)
    report = bench_pose([sequence(tmp_path)], BenchOptions(config=config_of(), peer="pycolmap"))
    ours, peer = report.sequences[0].engines
    assert (ours.engine, peer.engine) == ("wmkit brightness", "pycolmap 4")
    assert peer.core_seconds_per_frame == pytest.approx(1.0)  # 12 s over 12 frames, posed or not
    assert report.sequences[0].peer_cost_ratio == pytest.approx(12 / sum(ours.core_seconds.values()))
    text = report.table()
    assert "pycolmap 4: no trajectory (no_model)" in text
    assert "features 0.250  mapping 0.750" in text
    assert report.exit_code == 0  # a peer that fails is no failure of ours


def test_the_peer_is_handed_the_engines_frames(tmp_path: Path) -> None:
    folder = sequence(tmp_path)
    (tmp_path / "copy").mkdir()
    (tmp_path / "frames").mkdir()
    file, _ = annotate_pixels(find_clip(folder, "images"), config_of(max_side=24), tmp_path / "copy")
    peer_module._write_frames(open_source(file, config_of(max_side=24).video), tmp_path / "frames")
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"{index:06d}.png" for index in range(FRAMES)]
    last = cv2.imread(str(tmp_path / "frames" / names[-1]))
    assert last is not None
    assert last.shape == (16, 24, 3)
    assert (last == 10 * (FRAMES - 1)).all()


def test_progress_names_each_sequence_as_it_begins(tmp_path: Path) -> None:
    lines: list[str] = []
    folders = [sequence(tmp_path, "a"), sequence(tmp_path, "b")]
    bench_pose(folders, BenchOptions(config=config_of()), lines.append)
    assert lines == ["[1/2] a", "[2/2] b"]


def test_the_table_fits_120_columns(tmp_path: Path) -> None:
    report = run(sequence(tmp_path, "a_sequence_called_so", metric=False))
    lines = report.table().splitlines()
    assert max(map(len, lines)) <= 120
    assert "12/12" in lines[1]
    assert " u" in lines[1]  # the unit of a reference that is not metric


def test_the_default_is_every_frame_and_pose_alone() -> None:
    config = camera_config()
    assert config.video.fps is None
    assert config.depth is None
    assert (config.scale, config.footage_filters, config.trajectory_filters) == ((), (), ())
    assert config.pose.name == "track-sfm"
