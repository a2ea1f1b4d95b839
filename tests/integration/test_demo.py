"""`wmkit demo` on one small world, and, slowly, as it is."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from wmkit.annotate.progress import SilentProgress
from wmkit.camera import Intrinsics
from wmkit.corpus import Corpus
from wmkit.demo import DemoClip, DemoOptions, DemoSummary, run_demo
from wmkit.demo.model import STAMP, DemoModel, ModelOptions, make_run, make_shards
from wmkit.errors import ConfigError, InputError
from wmkit.executor import ExecutorOptions
from wmkit.train.progress import SilentProgress as SilentTraining
from wmkit.train.run import TrainOptions
from wmkit.worlds import SMALL_CLIPS

ROOM = dataclasses.replace(SMALL_CLIPS[0], name="room", intrinsics=Intrinsics.from_fov(70.0, 240, 144))
TINY = ModelOptions(settings=("steps=2", "data.frames=9", "data.height=32", "data.width=48"), sample_steps=2)
OPTIONS = DemoOptions(clips=(ROOM,), executor=ExecutorOptions(kind="local", workers=1), model=TINY)


class Notes(SilentProgress):
    """Remembers what the run says about its stages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoSummary]:
    """A demo of one small room, run once."""
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, run_demo(out, options=OPTIONS)


def figures_of(clip: DemoClip) -> dict[str, float]:
    """All figures by name."""
    figures = {metric.name: metric.value for metric in (*clip.score.metrics.values(), *clip.depth)}
    return figures | ({clip.scale.name: clip.scale.value} if clip.scale else {})


def test_the_annotation_is_near_the_truth(first: tuple[Path, DemoSummary]) -> None:
    _, summary = first
    (clip,) = summary.clips
    assert (clip.posed, clip.frames) == (12, 12)
    figures = figures_of(clip)
    # several times what 12 frames of 240x144 px give; a wrong convention, unit or size would cost tens of percent
    assert figures["ate_percent"] < 2
    assert figures["rotation_error"] < 3
    assert figures["focal_error"] < 15
    assert figures["depth_abs_rel"] < 0.3
    assert figures["depth_coverage"] > 0.3
    assert summary.exit_code == 0


def test_the_corpus_is_an_ordinary_one_and_its_clip_is_up_to_scale(first: tuple[Path, DemoSummary]) -> None:
    out, summary = first
    corpus = Corpus.open(out / "corpus")
    (source,) = corpus.sources()
    assert source.path == str(out / "clips" / "room.mp4")
    assert corpus.read(source.clip_id).scale is None
    assert not list((out / "clips").glob("*.json")), "the truth is kept apart from the clips"
    assert Path(summary.corpus) == out / "corpus"


def model_of(summary: DemoSummary) -> DemoModel:
    """The model's half, which is there."""
    assert summary.model is not None
    return summary.model


def test_the_last_lines_name_the_report_and_the_video(first: tuple[Path, DemoSummary]) -> None:
    out, summary = first
    report, video = summary.lines()[-2:]
    assert report == f"report: {summary.report}"
    assert video == f"video: {out / 'sample' / 'sample.mp4'}"
    assert (out / "corpus" / "report.html").samefile(str(summary.report))
    assert "12/12" in summary.lines()[1]
    assert max(map(len, summary.lines()[:2])) <= 120


def test_the_world_is_measured_near_its_truth_and_the_sample_says_what_it_is(first: tuple[Path, DemoSummary]) -> None:
    out, summary = first
    model = model_of(summary)
    assert (model.shards.samples, model.shards.posed_frames) == (1, 12)
    assert model.training is not None
    assert (model.training.result.steps, model.training.result.resumed) == (2, 0)
    assert (model.world.posed, model.world.problem) == (12, "")
    # three times what 12 frames of 240x144 px give; the orbit is 25 degrees and 1 m
    assert (model.world.value("rot_err_sana_wm_code") or 9) < 1.5
    assert (model.world.value("trans_err_sana_wm_code") or 9) < 0.01
    assert model.sample is not None
    assert model.sample.frames == 9  # of the path, as many as the model was trained on
    assert model.sample.trajectory == str(out / "sample" / "sample.trajectory.npz")
    assert model.sample.problem, "two steps of training make noise, in which no camera is to be found"
    told = "\n".join(summary.lines())
    assert "eval of the rendered world: RotErr" in told
    assert f"eval of the model's video: UNMEASURED: {model.sample.problem}" in told
    assert summary.exit_code == 0


def test_json_keys_are_frozen(first: tuple[Path, DemoSummary]) -> None:
    loaded = json.loads(json.dumps(first[1].to_json(), allow_nan=False))
    assert set(loaded) == {"clips", "rendered", "corpus", "report", "model", "seconds", "exit_code"}
    assert set(loaded["model"]) == {"shards", "training", "sample", "eval_world", "eval_sample"}
    (clip,) = loaded["clips"]
    assert set(clip) == {"name", "frames", "posed", "metrics", "problem"}
    assert {"ate_sim3", "ate_percent", "rotation_error", "focal_error", "depth_abs_rel", "depth_coverage"} <= set(
        clip["metrics"]
    )
    assert set(clip["metrics"]["ate_sim3"]) == {"value", "unit", "definition"}


def test_run_again_it_renders_and_annotates_nothing_but_what_changed(first: tuple[Path, DemoSummary]) -> None:
    out, summary = first
    video = out / "clips" / "room.mp4"
    ledger_rows = len(Corpus.open(out / "corpus").ledger())
    again = run_demo(out / "clips" / "..", options=OPTIONS)  # a roundabout name of the same folder
    assert again.rendered == 0
    assert len(Corpus.open(out / "corpus").ledger()) == ledger_rows
    assert [figures_of(clip) for clip in again.clips] == [figures_of(clip) for clip in summary.clips]

    pixels = video.read_bytes()
    video.write_bytes(pixels[:-1])  # a damaged clip, as an interrupted copy leaves it
    notes = Notes()
    repaired = run_demo(out, notes, OPTIONS)
    assert repaired.rendered == 1
    assert "rendering room" in notes.lines
    assert video.read_bytes() == pixels
    assert len(Corpus.open(out / "corpus").ledger()) == ledger_rows  # the same content has its annotation already


def test_run_again_it_neither_builds_nor_trains(first: tuple[Path, DemoSummary]) -> None:
    out, _ = first
    (out / "truth" / "room.stamp.json").write_text("no stamp")
    again = run_demo(out, options=OPTIONS)
    assert again.rendered == 1
    model = model_of(again)
    assert model.shards.unchanged
    assert model.training is not None
    assert (model.training.result.steps, model.training.result.resumed) == (2, 2)


def test_what_an_older_demo_made_gives_way_and_what_another_made_does_not(
    first: tuple[Path, DemoSummary], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(first[0], out)
    for name in ("clips", "shards", "run"):
        assert (out / name).is_dir()
    corpus = out / "corpus"
    (annotation,) = corpus.glob("clips/*/*/annotation.json")
    annotation.write_text(annotation.read_text() + "\n")  # another corpus by its hash, as another version makes it
    assert make_shards(out).samples == 1
    assert make_shards(out).unchanged
    stamp = out / "truth" / STAMP
    assert len(stamp.read_text().split()) == 2
    options = TrainOptions(data=out / "shards", out=out / "run", settings=TINY.settings)
    assert make_run(options, out, SilentTraining()).result.resumed == 0  # on other shards: begun anew

    stamp.unlink()
    annotation.write_text(annotation.read_text() + "\n")
    with pytest.raises(InputError, match="delete the folder"):
        make_shards(out)
    options = dataclasses.replace(options, settings=(*TINY.settings, "optimizer.lr=0.001"))
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        make_run(options, out, SilentTraining())
    assert (out / "run" / "latest").is_file()


def test_a_clip_without_a_trajectory_is_exit_1(tmp_path: Path) -> None:
    still = dataclasses.replace(ROOM, name="still", path=dataclasses.replace(ROOM.path, arc_deg=1e-6))  # type: ignore[call-arg]
    summary = run_demo(tmp_path, options=dataclasses.replace(OPTIONS, clips=(still,)))
    assert summary.exit_code == 1
    (clip,) = summary.clips
    assert clip.problem.startswith("no_trajectory")
    assert any(line.startswith("still: no_trajectory") for line in summary.lines())
    assert summary.lines()[-1].startswith("report: ")
    model = model_of(summary)
    assert (model.shards.samples, model.training, model.made, model.sample) == (0, None, None, None)
    assert not (tmp_path / "run").exists()


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError):
        run_demo(tmp_path / "out", options=OPTIONS)


def test_an_interrupted_demo_is_130_and_has_no_report() -> None:
    summary = DemoSummary(clips=(), corpus="corpus", report=None, rendered=4, seconds=1.0)
    assert summary.exit_code == 130
    assert summary.lines() == ["interrupted"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_demo(tmp_path: Path) -> None:
    summary = run_demo(tmp_path)
    assert summary.exit_code == 0
    assert len(summary.clips) == 4
    for clip in summary.clips:
        figures = figures_of(clip)
        assert clip.posed == clip.frames, clip.name
        assert figures["ate_percent"] < 1, clip.name  # what make demo shows to newcomers
        assert figures["rotation_error"] < 1, clip.name
    assert any(clip.scale for clip in summary.clips)
    model = model_of(summary)
    assert model.shards.samples == 4
    assert (model.world.value("rot_err_sana_wm_code") or 9) < 0.2
    assert (model.world.value("trans_err_sana_wm_code") or 9) < 0.02
    assert model.made is not None
    assert model.made.video.is_file()
