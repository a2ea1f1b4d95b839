"""Every form of the figures, null controls, the picture, a benchmark folder and the estimator's floor."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.bench_doubles import FRAMES, BrightnessPoseConfig, arc, config_of, write_images
from wmkit import cli
from wmkit.annotate.scale import ScaleFactorConfig
from wmkit.camera_paths import rotation_from_angles
from wmkit.errors import InputError
from wmkit.evaluate import verb
from wmkit.evaluate.benchmark import eval_benchmark
from wmkit.evaluate.controls import CONTROLS
from wmkit.evaluate.grid import grid
from wmkit.evaluate.plot import write_plot
from wmkit.evaluate.report import EvalReport
from wmkit.evaluate.scenes import read_scenes
from wmkit.evaluate.verb import EvalOptions, run_eval
from wmkit.evaluate.video import eval_video

METRIC = dataclasses.replace(config_of(), scale=(ScaleFactorConfig(factor=4.0),))  # the engine's unit is 4 m


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_images(tmp_path / "clip" / "images")
    return tmp_path / "clip" / "images"


def turned(degrees: float, frames: int = 6) -> np.ndarray:
    """`arc` whose camera turns too far in the last `frames`."""
    poses = arc()
    poses[FRAMES - frames :, :3, :3] = poses[FRAMES - frames :, :3, :3] @ rotation_from_angles(degrees, 0.0, 0.0)
    return poses


def judged(clip: Path, poses: np.ndarray) -> EvalReport:
    path = clip.parent / "asked.npz"
    np.savez(path, world_from_cam=poses)
    return eval_video(clip, path, config_of())


def test_every_form_follows_from_the_errors_made(clip: Path) -> None:
    rows = {(row.normalisation, row.aggregate, row.angle_unit): row for row in grid(judged(clip, turned(3.0)).metrics)}
    assert len(rows) == 3 * 4, "three normalisations fit a path up to scale, each summed or averaged, by two units"
    for aggregate, share in (("sum", 6.0), ("mean", 0.5)):
        for unit, size in (("deg", 3.0), ("rad", np.radians(3.0))):
            assert rows["self-max", aggregate, unit].rot_err == pytest.approx(share * size)
    wrong = np.linalg.norm(rotation_from_angles(3.0, 0.0, 0.0) - np.eye(3))
    assert rows["self-max", "sum", "deg"].cam_mc == pytest.approx(6 * wrong)
    assert rows["self-max", "mean", "rad"].cam_mc == pytest.approx(0.5 * wrong)
    assert rows["self-max", "sum", "rad"].paper == "CameraCtrl, CamI2V"
    assert rows["Sim(3)", "mean", "deg"].paper == "SANA-WM, App. D.3"
    assert rows["Sim(3)", "sum", "deg"].paper == ""


def test_a_metric_request_has_all_five_normalisations(clip: Path) -> None:
    from tests.bench_doubles import write_poses

    report = eval_video(clip, write_poses(clip.parent, arc()), METRIC)
    assert {row.normalisation for row in grid(report.metrics)} == {
        "self-max", "gt-max", "Sim(3)", "Sim(3) of cameras", "metric",
    }  # fmt: skip
    assert all(row.definition for row in grid(report.metrics))


def test_null_controls_are_far_from_what_was_driven(clip: Path) -> None:
    report = judged(clip, arc())
    assert tuple(report.controls) == CONTROLS
    for name, figures in report.controls.items():
        assert (figures["rotation_error"] or 0) > 3.0, name
    assert report.controls["static"]["trans_err_cami2v_relative"] is None, "a path that stands still has no size"
    assert (report.controls["reversed"]["trans_err_cami2v_relative"] or 0) > 1.0
    text = "\n".join(report.lines())
    assert "held against" in text
    assert "shuffled" in text


def test_lost_frames_are_counted(clip: Path) -> None:
    path = clip.parent / "asked.npz"
    np.savez(path, world_from_cam=arc())
    report = eval_video(clip, path, config_of(BrightnessPoseConfig(unposed=(3, 4))))
    assert (report.lost, report.to_json()["lost"]) == (2, 2)


def test_the_picture(clip: Path, tmp_path: Path) -> None:
    write_plot(judged(clip, turned(3.0)), tmp_path / "a.png")
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None
    assert picture.shape == (500, 1200, 3)
    write_plot(judged(clip, turned(3.0)), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(InputError, match=r"\.png"):
        write_plot(judged(clip, arc()), tmp_path / "a.jpg")
    still = np.tile(np.eye(4), (FRAMES, 1, 1))
    with pytest.raises(InputError, match="does not move"):
        write_plot(judged(clip, still), tmp_path / "c.png")


def bench(tmp_path: Path, names: tuple[str, ...]) -> Path:
    """A folder shaped as SANA-WM-Bench whose scenes all ask for `arc`, with one camera more than a clip has frames."""
    folder = tmp_path / "bench"
    (folder / "cameras").mkdir(parents=True)
    rows = []
    for name in names:
        c2w = np.concatenate([arc()[:1], arc()])
        K = np.tile(np.eye(3) * 40.0, (FRAMES + 1, 1, 1))
        np.savez(folder / "cameras" / f"{name}.npz", c2w=c2w, intrinsics=K, fps=16, num_frames=FRAMES + 1)
        rows.append({"id": name, "image_path": "x.png", "camera_path": f"cameras/{name}.npz", "prompt": "a"})
    (folder / "run_manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_benchmark_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bench(tmp_path, ("game_001", "indoor_001", "city_001"))
    videos = tmp_path / "videos"
    for name in ("game_001.mp4", "indoor_001_generated.mp4"):
        write_images(videos / name)
    # A folder of images stands for a video here, so that the double's engine can read the frames' numbers.
    monkeypatch.setattr(Path, "is_file", lambda self: self.exists())
    result = eval_benchmark(videos, folder, config_of())
    assert result.absent == ("city_001",)
    assert [report.problem for report in result.reports.values()] == ["", ""]
    assert all("first camera left out" in report.note for report in result.reports.values())
    assert result.means()["rotation_error"]["scenes"] == 2
    assert result.means()["rotation_error"]["mean"] == pytest.approx(0, abs=1e-6)  # float64 through an alignment
    assert result.exit_code == 1, "one scene has no video"
    assert list(result.to_json()) == ["benchmark", "scenes", "measured", "absent", "means", "reports", "exit_code"]
    assert result.lines()[0].endswith("2 of 3 scenes measured, 1 without a video")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "at least one scene"),
        ("{\n", ":1: expected an object"),
        ('{"id": "a"}\n', "found no 'camera_path'"),
        ('{"id": "a/b", "camera_path": "cameras/a.npz"}\n', "without slashes"),
        ('{"id": "a", "camera_path": "cameras/none.npz"}\n', "found none"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, text: str, word: str) -> None:
    folder = bench(tmp_path, ("a",))
    (folder / "run_manifest.jsonl").write_text(text)
    with pytest.raises(InputError, match=word):
        read_scenes(folder)
    with pytest.raises(
        InputError, match=r"run_manifest\.jsonl with a row a scene, got: No such file or directory; name"
    ):
        read_scenes(tmp_path)


def test_a_video_that_cannot_be_read_costs_its_own_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, videos = bench(tmp_path, ("bad", "good")), tmp_path / "videos"
    write_images(videos / "good.mp4")
    (videos / "bad.mp4").write_text("no video")
    monkeypatch.setattr(Path, "is_file", lambda self: self.exists())  # see test_a_benchmark_folder
    result = eval_benchmark(videos, folder, config_of())
    assert "expected a playable video" in result.reports["bad"].problem
    assert result.reports["good"].problem == ""
    assert (result.exit_code, result.means()["rotation_error"]["scenes"]) == (1, 1)
    assert any(line.startswith("bad: UNMEASURED: ") for line in result.lines())
    (videos / "good.mp4").rename(videos / "other.mp4")
    with pytest.raises(InputError, match="expected a playable video"):
        eval_benchmark(videos, folder, config_of())


def test_no_video_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"such as a\.mp4"):
        eval_benchmark(tmp_path, bench(tmp_path, ("a", "b")))


def test_the_floor_stands_beside(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = clip.parent / "asked.npz", clip.parent / "known.npz"
    np.savez(path, world_from_cam=turned(3.0))
    np.savez(other, world_from_cam=arc())
    monkeypatch.setattr(verb, "eval_video", lambda video, cameras: eval_video(video, cameras, config_of()))
    plot = clip.parent / "plot.png"
    options = EvalOptions(video=clip, trajectory=path, floor=clip, floor_trajectory=other, plot=plot)
    result = run_eval(options, lambda _: None)
    told = result.to_json()
    assert plot.exists()
    assert told["metrics"]["rot_err_cami2v_relative"]["value"] == pytest.approx(np.radians(18.0))  # type: ignore[index]
    assert told["floor"]["metrics"]["rot_err_cami2v_relative"]["value"] == pytest.approx(0, abs=1e-6)  # type: ignore[index]
    assert "the estimator's floor:" in result.lines()


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ([], "either --trajectory FILE or --benchmark DIR"),
        (["--trajectory", "a", "--benchmark", "b"], "either"),
        (["--trajectory", "a", "--floor", "b"], "together"),
        (["--benchmark", "a", "--plot", "b.png"], "neither"),
        (["--trajectory", "a", "--plot", "b.jpg"], "ending in .png"),
        (["--trajectory", "a", "--plot", "/no/such/b.png"], "got: no folder /no/such; name another"),
        (["--trajectory", "a", "--floor", "/no/b.mp4", "--floor-trajectory", "c"], "--floor: expected a file, found"),
    ],
)
def test_flags_that_do_not_go_together(flags: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "x.mp4", *flags]) == 2
    assert word in capsys.readouterr().err
