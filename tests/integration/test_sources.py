"""Manifests, spans, patterns and URLs through whole runs: each clip its own facts, nothing done twice."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.faults.dummy import dummy_config
from tests.http_folder import http_folder
from tests.video_clips import read_number, write_clip
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.retry import retry_of
from wmkit.annotate.run import RunOptions, RunSummary, run_annotate
from wmkit.annotate.split import SplitConfig
from wmkit.clip import Annotation
from wmkit.corpus import Corpus
from wmkit.corpus.refind import reopen_source
from wmkit.executor import ExecutorOptions
from wmkit.video import FrameSource
from wmkit.video.encode import write_mp4

FPS = 30


def run(paths: list[str | Path], out: Path, *, retry: bool = False, rehash: bool = False) -> RunSummary:
    workers = ExecutorOptions(kind="local", workers=1, timeout_s=60.0)
    options = RunOptions(executor=workers, retry=retry, rehash=rehash)
    return run_annotate(paths, out, dummy_config(), options, SilentProgress())


def by_source(corpus: Path) -> dict[str, Annotation]:
    store = Corpus.open(corpus)
    return {(annotation := store.read(clip_id)).clip.source: annotation for clip_id in store.clip_ids()}


def attempts(corpus: Path) -> list[tuple[str, int]]:
    return sorted((row.source, row.attempt) for row in Corpus.open(corpus).ledger())


def numbers(frames: FrameSource) -> list[int]:
    return [read_number(rgb) for window in frames.windows() for rgb in window.rgb]


def test_rows_of_a_manifest_are_clips_of_their_own(tmp_path: Path) -> None:
    """Two parts of one file and a whole one; each has its facts, and only what a row changes is done again."""
    for name, frames in (("long", 90), ("short", 20)):
        write_clip(tmp_path / f"{name}.mp4", range(frames), (64, 48))
    manifest, corpus = tmp_path / "clips.csv", tmp_path / "corpus"
    head = "path,start_s,end_s,caption,fov_deg\n"
    manifest.write_text(head + "long.mp4,0,1,A yard.,60\nlong.mp4,2,,,\nshort.mp4,,,A lane.,\n")
    assert run([manifest], corpus).ok == 3
    made = by_source(corpus)
    yard, rest, lane = made["long.mp4#t=0,1"], made["long.mp4#t=2"], made["short.mp4"]
    assert len({yard.clip.id, rest.clip.id, lane.clip.id}) == 3
    assert yard.caption is not None
    assert (yard.caption.text, yard.caption.source) == ("A yard.", "manifest")
    assert yard.prior is not None
    assert yard.prior.source == "manifest"
    assert (rest.caption, rest.prior) == (None, None)
    assert yard.clip.span_s == pytest.approx((0.0, 1.0), abs=1e-6)
    assert rest.clip.span_s == pytest.approx((2.0, 3.0), abs=1e-6)
    # 16 of 30 frames a second by their time stamps: half a frame of 1/30 s is the most a pick is off the grid
    np.testing.assert_allclose(np.diff(rest.view.pts_s), 1 / 16, atol=1 / 30 + 1e-6)

    store = Corpus.open(corpus)
    rows = {row.name: row for row in store.sources()}
    frames = reopen_source(rows["long.mp4#t=2"], rest, store.config)
    assert not isinstance(frames, str)
    assert numbers(frames) == [round(pts_s * FPS) for pts_s in rest.view.pts_s]  # type: ignore[arg-type]

    assert run([manifest], corpus).resumed == 3
    manifest.write_text(head + "long.mp4,0,1,A court.,60\nlong.mp4,2,,,\nshort.mp4,,,A lane.,\n")
    assert run([manifest], corpus).resumed == 2
    assert by_source(corpus)["long.mp4#t=0,1"].caption.text == "A court."  # type: ignore[union-attr]
    assert attempts(corpus) == [("long.mp4#t=0,1", 1), ("long.mp4#t=0,1", 2), ("long.mp4#t=2", 1), ("short.mp4", 1)]
    hashed = store.corpus_hash()
    assert run([f"{tmp_path}/long.mp4#t=0,1", tmp_path / "short.mp4"], corpus).resumed == 2, "known facts hold"
    assert store.corpus_hash() == hashed


def test_a_row_that_fails_is_rerun_by_itself_with_its_facts(tmp_path: Path) -> None:
    write_clip(tmp_path / "bad_1.mp4", range(60), (64, 48))
    (tmp_path / "clips.csv").write_text("path,start_s,end_s,caption\nbad_1.mp4,0,1,Words.\nbad_1.mp4,9,,\nno.mp4,,,\n")
    corpus = tmp_path / "corpus"
    summary = run([tmp_path / "clips.csv"], corpus)
    assert summary.codes == {"decode/empty_span": 1, "discover/unreadable": 1, "pose/diverged": 1}
    assert run([tmp_path / "clips.csv"], corpus).resumed == 3, "failed is final"
    found = retry_of(corpus, ["diverged"])
    assert found.arguments[0] == f"{tmp_path}/bad_1.mp4#t=0,1"
    assert run([found.arguments[0]], corpus, retry=True).failed == 1
    again = [row for row in Corpus.open(corpus).ledger() if row.attempt == 2]
    assert [row.source for row in again] == ["bad_1.mp4#t=0,1"]
    assert again[0].config_hash != Corpus.open(corpus).config_hash, "the clip's own facts are in its hash"


def test_sources_behind_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotated from the cache, the same clip as the file on disk, and decoded again when the cache has gone."""
    monkeypatch.setenv("WMKIT_CACHE", str(tmp_path / "cache"))
    local = write_clip(tmp_path / "a.mp4", range(40), (64, 48))
    with http_folder(tmp_path) as served:
        remote, corpus = f"{served.url}/a.mp4", tmp_path / "corpus"
        (tmp_path / "clips.csv").write_text(f"path,end_s\n{remote},\n{remote},0.5\n")
        assert run([tmp_path / "clips.csv"], corpus).ok == 2
        assert served.bytes_sent == local.stat().st_size, "hashed and annotated from one download"
        store = Corpus.open(corpus)
        row = next(row for row in store.sources() if row.path == remote)
        for copy in (tmp_path / "cache").glob("sources/??/*"):
            os.remove(copy)
        frames = reopen_source(row, store.read(row.clip_id), store.config)
        assert numbers(frames)[:3] == [0, 2, 4]  # type: ignore[arg-type]
    assert run([local], tmp_path / "other").ok == 1
    assert Corpus.open(tmp_path / "other").clip_ids() == [row.clip_id]


def test_rehash_reads_what_size_and_time_do_not_tell(tmp_path: Path) -> None:
    clip, corpus = tmp_path / "a.mp4", tmp_path / "corpus"
    write_clip(clip, range(20), (64, 48))
    told = clip.stat()
    run([clip], corpus)
    data = bytearray(clip.read_bytes())
    data[data.index(b"Lavf")] ^= 1  # a letter of the encoder's name: other bytes of the same size
    clip.write_bytes(data)
    os.utime(clip, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert run([clip], corpus).resumed == 1
    assert run([clip], corpus, rehash=True).resumed == 0
    assert len(Corpus.open(corpus).clip_ids()) == 2


def test_patterns(tmp_path: Path) -> None:
    for name in ("x/a.mp4", "y/b.mp4", "y/c.mov"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_clip(tmp_path / name, range(20 + len(name) + ord(name[2])), (64, 48))
    run([str(tmp_path / "*" / "*.mp4")], tmp_path / "corpus")
    assert sorted(by_source(tmp_path / "corpus")) == ["x/a.mp4", "y/b.mp4"]


def test_a_long_video_becomes_its_shots_and_no_part_is_longer_than_asked(tmp_path: Path) -> None:
    """Two shots of 3 and 2 s at a part of at most 1.6 s: two parts each, every frame in one of them."""
    rng, fps, size = np.random.default_rng(0), 10, (128, 96)
    frames = []
    for shot, count in enumerate((30, 20)):
        photo = np.kron(rng.integers(0, 256, (16, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8) // (1 + shot)
        frames += [photo[:96, 2 * k : 2 * k + 128] for k in range(count)]
    write_mp4(tmp_path / "film.mp4", iter(frames), fps, size)
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    corpus = tmp_path / "corpus"
    workers = ExecutorOptions(kind="local", workers=1, timeout_s=60.0)
    options = RunOptions(executor=workers, split=SplitConfig(clip_seconds=1.6))
    told = Notes()
    films = [tmp_path / "film.mp4", tmp_path / "broken.mp4"]
    summary = run_annotate(films, corpus, dummy_config(), options, told)
    assert (summary.sources, summary.clips, summary.failed, summary.frames) == (5, 5, 1, 50)
    assert told.lines[-2:] == [
        "videos to look through for cuts: 2",
        "videos that could not be looked through, kept whole: 1",
    ]
    spans = sorted(annotation.clip.span_s for annotation in by_source(corpus).values())
    assert [round(end - start, 6) for start, end in spans] == [1.5, 1.5, 1.0, 1.0]
    assert spans[2][0] == pytest.approx(3.0), "the cut"

    told = Notes()
    again = run_annotate(films, corpus, dummy_config(), options, told)
    assert (again.resumed, again.clips) == (5, 5)
    assert "videos to look through for cuts: 1" in told.lines, "the broken one alone"


class Notes(SilentProgress):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)
