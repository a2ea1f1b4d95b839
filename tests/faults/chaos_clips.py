"""What chaos runs: commands over clips made for it, or over parts of real ones as users have them."""

import csv
import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
from av.error import FFmpegError

from tests.faults.dummy import write_clips

__all__ = ["MadeClips", "RealClips", "Work", "build"]

REAL_SIDE, REAL_FPS = "192", "8"  # px and frames a second: a clip takes a few core-s, pose included
SHARD_BYTES = "250000"  # a few samples a tar


class Work(Protocol):
    """Commands, as the words of a process; `inputs` is a folder of the session that `prepare` fills."""

    def prepare(self, inputs: Path, rng: random.Random) -> None: ...

    def annotate(self, inputs: Path, out: Path, executor: str, timeout_s: float, *, retry: bool) -> list[str]: ...


@dataclass(frozen=True)
class MadeClips:
    """Image folders of noise and a pose backend that costs nothing; one clip kills its worker, one is bad."""

    clips: int

    def prepare(self, inputs: Path, rng: random.Random) -> None:
        names = [f"{rng.choice(('a', 'slow', 'deep/er/b'))}_{number}" for number in range(self.clips - 3)]
        write_clips(inputs, [*names, "kill_x", "bad_x", f"same={names[0]}"])

    def annotate(self, inputs: Path, out: Path, executor: str, timeout_s: float, *, retry: bool) -> list[str]:
        words = ["-m", "tests.faults.driver", str(inputs), str(out), "--executor", executor]
        return [sys.executable, *words, "--timeout-s", str(timeout_s), *(["--retry"] if retry else [])]


@dataclass(frozen=True)
class RealClips:
    """The first seconds of every video below `paths`, annotated small by `wmkit annotate` itself: decoded, filtered,
    posed. A file that is no video and a copy of one that is are among them."""

    paths: Sequence[Path]
    seconds: float

    def prepare(self, inputs: Path, rng: random.Random) -> None:
        inputs.mkdir()
        videos = [video for path in self.paths for video in sorted(path.rglob("*.mp4"))]
        for number, video in enumerate([*videos, videos[0]]):
            shutil.copyfile(video, inputs / f"{number:02d}_{video.name}")
        (inputs / "text.mp4").write_text("no video")
        with open(inputs / "manifest.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("path", "start_s", "end_s"))
            for video in sorted(inputs.glob("*.mp4")):
                rows.writerow((video.name, *self.span(video)))

    def span(self, video: Path) -> tuple[str, str]:
        """Empty for what has no length."""
        try:
            with av.open(str(video)) as container:
                length_s = (container.duration or 0) / av.time_base
        except FFmpegError:
            return "", ""
        return "0", str(min(self.seconds, length_s))

    def annotate(self, inputs: Path, out: Path, executor: str, timeout_s: float, *, retry: bool) -> list[str]:
        words = ["-m", "wmkit", "annotate", str(inputs / "manifest.csv"), "--out", str(out), "--json"]
        words += ["--executor", executor, "--workers", "2", "--clip-timeout-s", str(timeout_s)]
        words += ["--max-side", REAL_SIDE, "--fps", REAL_FPS, "--depth", "none"]
        return [sys.executable, *words, *(["--retry"] if retry else [])]


def build(corpus: Path, shards: Path) -> list[str]:
    """`wmkit build-shards` of everything with a trajectory, in tars of a few samples."""
    thresholds = corpus.with_name("all.toml")
    thresholds.touch()  # no row: nothing is rejected
    words = ["-m", "wmkit", "build-shards", str(corpus), "--out", str(shards), "--thresholds", str(thresholds)]
    return [sys.executable, *words, "--max-shard-size", SHARD_BYTES, "--val", "0.3", "--workers", "2", "--json"]
