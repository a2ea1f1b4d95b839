"""`wmkit demo` on one small world, and, slowly, as it is."""

import dataclasses
import json
from pathlib import Path

import pytest

from wmkit.annotate.progress import SilentProgress
from wmkit.camera import Intrinsics
from wmkit.corpus import Corpus
from wmkit.demo import DemoClip, DemoOptions, DemoSummary, run_demo
from wmkit.errors import InputError
from wmkit.executor import ExecutorOptions
from wmkit.worlds import SMALL_CLIPS

ROOM = dataclasses.replace(SMALL_CLIPS[0], name="room", intrinsics=Intrinsics.from_fov(70.0, 240, 144))
OPTIONS = DemoOptions(clips=(ROOM,), executor=ExecutorOptions(kind="local", workers=1))


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


def test_the_last_line_names_the_report(first: tuple[Path, DemoSummary]) -> None:
    out, summary = first
    last = summary.lines()[-1]
    assert last == f"report: {summary.report}"
    assert (out / "corpus" / "report.html").samefile(str(summary.report))
    assert "12/12" in summary.lines()[1]
    assert max(map(len, summary.lines()[:2])) <= 120


def test_json_keys_are_frozen(first: tuple[Path, DemoSummary]) -> None:
    loaded = json.loads(json.dumps(first[1].to_json(), allow_nan=False))
    assert set(loaded) == {"clips", "rendered", "corpus", "report", "seconds", "exit_code"}
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

    (out / "truth" / "room.stamp.json").write_text("no stamp")
    assert run_demo(out, options=OPTIONS).rendered == 1


def test_a_clip_without_a_trajectory_is_exit_1(tmp_path: Path) -> None:
    still = dataclasses.replace(ROOM, name="still", path=dataclasses.replace(ROOM.path, arc_deg=1e-6))  # type: ignore[call-arg]
    summary = run_demo(tmp_path, options=dataclasses.replace(OPTIONS, clips=(still,)))
    assert summary.exit_code == 1
    (clip,) = summary.clips
    assert clip.problem.startswith("no_trajectory")
    assert any(line.startswith("still: no_trajectory") for line in summary.lines())
    assert summary.lines()[-1].startswith("report: ")


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
