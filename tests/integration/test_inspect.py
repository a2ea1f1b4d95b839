"""One clip as a rerun recording: what is logged, by a stand-in for rerun; and a real file where rerun is installed."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from tests.unit.annotate.report.samples import (
    add,
    failed_row,
    new_corpus,
    opened,
    posed,
    sources_of,
    still,
    write_pictures,
)
from wmkit import cli
from wmkit.annotate.inspect import inspect_clip
from wmkit.clip import Annotation
from wmkit.corpus import Corpus
from wmkit.video import FrameSource, discover, identify

FRAMES = 9


class Stream:
    """Keeps (frame or None, entity, kind, arguments) of every call, in place of a recording."""

    def __init__(self) -> None:
        self.logged: list[tuple[int | None, str, Any]] = []
        self.frame = 0
        self.ended: list[str] = []

    def set_time(self, timeline: str, sequence: int | None = None, duration: float | None = None) -> None:
        assert (timeline, duration is None) in (("frame", True), ("time", False))
        self.frame = self.frame if sequence is None else sequence

    def log(self, entity: str, what: Any, static: bool = False) -> None:
        self.logged.append((None if static else self.frame, entity, what))

    def save(self, path: Path) -> None:
        path.write_bytes(b"recording")

    def flush(self) -> None:
        self.ended.append("flush")

    def disconnect(self) -> None:
        self.ended.append("disconnect")

    def of(self, entity: str, kind: str) -> dict[int | None, dict[str, Any]]:
        """Frame -> what was logged there of one kind."""
        return {frame: what for frame, where, what in self.logged if where == entity and what["kind"] == kind}


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Rerun replaced by one stream."""
    made, module = Stream(), ModuleType("rerun")
    module.RecordingStream = lambda application, recording_id: made  # type: ignore[attr-defined]
    module.ViewCoordinates = type("ViewCoordinates", (), {"RDF": {"kind": "RDF"}})  # type: ignore[attr-defined]
    for kind in ("LineStrips3D", "Points3D", "Transform3D", "Pinhole", "Clear", "EncodedImage", "DepthImage",
                 "Scalars", "TextDocument"):  # fmt: skip
        setattr(module, kind, lambda *given, kind=kind, **named: {"kind": kind, "given": given, **named})
    monkeypatch.setitem(sys.modules, "rerun", module)
    return made


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """One clip with a trajectory, one without, two failures."""
    made = new_corpus(tmp_path / "corpus")
    files = [write_pictures(tmp_path / "in" / name, FRAMES, first=20 * index) for index, name in enumerate("ab")]
    add(made, files[0], posed(opened(files[0]), metric=True))
    add(made, files[1], still(opened(files[1])))
    failed = [failed_row(7), failed_row(8)]
    made.append_ledger(failed)
    sources = sources_of(files)
    broken = [dataclasses.replace(sources[0], path=f"/in/{row.source}", clip_id=row.clip_id) for row in failed]
    made.write_sources([*sources, *broken])
    return made


def clip_of(corpus: Corpus, source: str) -> Annotation:
    return next(corpus.read(key) for key, row in corpus.latest().items() if row.source == source)


def test_all_of_a_clip_is_in_the_recording(stream: Stream, corpus: Corpus, tmp_path: Path) -> None:
    clip = clip_of(corpus, "a")
    trajectory, depth = clip.trajectory, clip.depth
    assert trajectory is not None
    assert depth is not None
    result = inspect_clip(corpus.path, clip.clip.id, tmp_path / "below" / "clip.rrd")
    assert (result.frames, result.cameras, result.depth_maps) == (FRAMES, FRAMES - 1, 2)
    assert stream.ended == ["flush", "disconnect"]
    poses = stream.of("world/camera", "Transform3D")
    assert list(poses) == [frame for frame in range(FRAMES) if trajectory.posed[frame]]
    for frame, pose in poses.items():
        np.testing.assert_array_equal(pose["translation"], trajectory.position[frame])
    assert list(stream.of("world/camera", "Clear")) == [FRAMES // 2], "an unposed frame shows no camera"
    maps = stream.of("world/depth/z", "DepthImage")
    assert list(maps) == depth.frame.tolist()
    for place, frame in enumerate(depth.frame.tolist()):
        (z,) = maps[frame]["given"]
        np.testing.assert_array_equal(z, np.where(depth.valid[place], depth.z[place], 0))
        pinhole = stream.of("world/depth", "Pinhole")[frame]
        assert (pinhole["width"], pinhole["height"]) == (16, 12)
        whole = stream.of("world/camera", "Pinhole")[frame]
        assert pinhole["image_from_camera"][0, 0] == pytest.approx(whole["image_from_camera"][0, 0] * 16 / 64)
    flags = [what["given"][0] for _, entity, what in stream.logged if entity == "evidence/posed"]
    assert flags == trajectory.posed.astype(float).tolist()
    (page,) = stream.of("verdicts", "TextDocument").values()
    assert "| posed_ratio | 0.888889 |" in page["given"][0]
    assert "| reprojection_px | unmeasured: no_points |" in page["given"][0]


def test_the_pictures_are_those_of_the_source(stream: Stream, corpus: Corpus, tmp_path: Path) -> None:
    clip = clip_of(corpus, "b")
    sources = corpus.sources()
    record = json.loads((corpus.folder(clip.clip.id) / "annotation.json").read_text())
    record["provenance"]["input_hash"] = next(row.content_hash for row in sources if row.clip_id == clip.clip.id)
    (corpus.folder(clip.clip.id) / "annotation.json").write_text(json.dumps(record))
    result = inspect_clip(corpus.path, clip.clip.id, tmp_path / "clip.rrd")
    assert (result.cameras, result.pictures, result.no_pictures) == (0, FRAMES, "")
    shown = stream.of("world/camera/picture", "EncodedImage")
    assert list(shown) == list(range(FRAMES))
    (window,) = opened_again(tmp_path).windows()
    for frame, picture in shown.items():
        data = cv2.imdecode(np.frombuffer(picture["contents"], dtype=np.uint8), cv2.IMREAD_COLOR)
        assert data is not None
        assert frame is not None
        # JPEG of quality 85 moves a grey level by a few; the next picture differs by dozens in the mean of its digits.
        assert np.abs(data[:, :, ::-1].astype(int) - window.rgb[frame]).mean() < 6
    (page,) = stream.of("verdicts", "TextDocument").values()
    assert "no trajectory: static" in page["given"][0]


def opened_again(tmp_path: Path) -> FrameSource:
    """The frames of clip b."""
    (found,) = discover([tmp_path / "in" / "b"]).clips
    return opened(identify(found))


def test_a_missing_source_costs_the_pictures_alone(
    stream: Stream, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "in")
    clip_id = clip_of(corpus, "a").clip.id
    assert cli.main(["inspect", str(corpus.path), clip_id[:12], "--rrd", str(tmp_path / "c.rrd"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [
        "clip_id", "source", "frames", "cameras", "pictures", "depth_maps", "no_pictures", "rrd",
    ]  # fmt: skip
    assert (told["clip_id"], told["pictures"], told["cameras"]) == (clip_id, 0, FRAMES - 1)
    assert "cannot be read" in told["no_pictures"]
    assert stream.of("world/camera/picture", "EncodedImage") == {}


@pytest.mark.parametrize(
    ("clip_id", "words"),
    [
        ("zz", "expected the id of one of the 4 clips"),
        ("", "got ''"),
        (f"{7:032x}", "one that failed (pose/timeout"),
    ],
)
def test_a_clip_that_cannot_be_shown_is_one_line(
    clip_id: str, words: str, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(corpus.path), clip_id, "--rrd", str(tmp_path / "c.rrd")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "c.rrd").exists()


def test_an_id_that_two_share_and_a_missing_extra(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(corpus.path), "000000"]) == 2
    assert "got '000000', which begins 2 of them" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "rerun", None)
    clip_id = clip_of(corpus, "a").clip.id
    assert cli.main(["inspect", str(corpus.path), clip_id, "--rrd", str(tmp_path / "c.rrd")]) == 2
    assert "pip install 'wmkit[rerun]'" in capsys.readouterr().err


def test_a_recording_that_cannot_be_written(
    stream: Stream, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    clip_id = clip_of(corpus, "a").clip.id
    assert cli.main(["inspect", str(corpus.path), clip_id, "--rrd", str(tmp_path / "taken")]) == 2
    assert "taken: expected a writable path" in capsys.readouterr().err
    assert stream.logged == []


def test_a_real_recording(corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="needs the extra wmkit[rerun]")
    inspect_clip(corpus.path, clip_of(corpus, "a").clip.id, tmp_path / "clip.rrd")
    assert (tmp_path / "clip.rrd").read_bytes()[:4] in (b"RRF2", b"RRIO")
