"""What a clip may cost: keyframes, described features, comparisons, and the memory of a minute of video."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import wmkit.annotate.pose.links as links
from tests.unit.annotate.pose.walks import ring_walk
from wmkit.annotate.pose.features import FeatureConfig, Features
from wmkit.annotate.pose.keyframes import KeyframeConfig, choose_keyframes
from wmkit.annotate.pose.links import LinkConfig, link_keyframes
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera_paths import SampledPath, rotation_from_angles

ROOT = Path(__file__).parents[4]


class Blank:
    """`count` black pictures."""

    def __init__(self, count: int) -> None:
        self.count = count

    def windows(self) -> Any:
        """One window of all."""
        yield SimpleNamespace(start=0, rgb=np.zeros((self.count, 4, 4, 3), np.uint8))


def unrelated_tracks(frames: int) -> Tracks:
    """No track lives longer than a frame: every step is weak, and every keyframe a piece of its own."""
    return Tracks(
        ids=tuple(np.arange(5) + 5 * frame for frame in range(frames)),
        xy=tuple(np.zeros((5, 2), np.float32) for _ in range(frames)),
        rgb=np.zeros((5 * frames, 3), np.uint8),
        thumbnail=np.random.default_rng(0).integers(0, 255, (frames, 24, 32)).astype(np.uint8),
        width=640,
        height=480,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many features each described frame was allowed; every frame gives its fill of random ones."""
    allowed: list[int] = []
    rng = np.random.default_rng(0)

    def describe(rgb: np.ndarray, config: FeatureConfig) -> Features:
        allowed.append(config.max_features)
        count = min(config.max_features, 50)
        descriptor = rng.normal(size=(count, 128)).astype(np.float32)
        descriptor /= np.linalg.norm(descriptor, axis=1, keepdims=True)
        return Features(xy=np.zeros((count, 2), np.float32), rgb=np.zeros((count, 3), np.uint8), descriptor=descriptor)

    monkeypatch.setattr(links, "describe", describe)
    return allowed


def test_a_few_keyframes_are_described_in_full(asked: list[int]) -> None:
    link_keyframes(Blank(20), unrelated_tracks(20), tuple(range(20)), LinkConfig())  # type: ignore[arg-type]
    assert asked == [LinkConfig().features.max_features] * 20


def test_features_of_a_long_broken_clip_are_bounded(asked: list[int]) -> None:
    config = LinkConfig(max_described=6000)
    link_keyframes(Blank(60), unrelated_tracks(60), tuple(range(60)), config)  # type: ignore[arg-type]
    assert asked == [100] * 60


def test_pairs_that_look_similar_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_resemblance", lambda a, b, cosine: 1)
    features = {k: SimpleNamespace(descriptor=np.ones((3, 128), np.float32)) for k in range(30)}
    config = LinkConfig(max_pairs=60)
    pairs = links._similar(features, np.arange(30), config)  # type: ignore[arg-type]
    assert 0 < len(pairs) <= 60 < len(list(combinations(range(30), 2)))


def test_keyframes_of_much_motion_are_as_few_as_asked() -> None:
    _, tracks = ring_walk(60, turn_deg=2.0)
    free = choose_keyframes(tracks, KeyframeConfig())
    bounded = choose_keyframes(tracks, KeyframeConfig(most=35, widest=0.2))
    assert len(free) > 50
    assert len(bounded) <= 35
    assert (bounded[0], bounded[-1]) == (0, 59)
    assert choose_keyframes(tracks, KeyframeConfig(most=len(free))) == free


class Round:
    """Once round a circle of 0.8 m, looking along it: the last pose is the first."""

    def sample(self, frames: int, fps: float) -> SampledPath:
        """See `CameraPath.sample`."""
        angle = 2 * np.pi * np.arange(frames) / (frames - 1)
        poses = np.tile(np.eye(4), (frames, 1, 1))
        poses[:, :3, :3] = rotation_from_angles(-np.degrees(angle), -6.0 + 3.0 * np.sin(3 * angle), 0.0)
        poses[:, :3, 3] = np.stack([0.8 * np.cos(angle), 0.05 * np.sin(5 * angle), 0.8 * np.sin(angle)], axis=1)
        return SampledPath(world_from_cam=poses, time_s=np.arange(frames) / fps)


RUN = """
import json, sys
from wmkit.annotate.isolated import camera_config
from wmkit.annotate.pose import TrackSfmConfig
from wmkit.executor.memory import peak_gib
from wmkit.video import discover, identify, open_source
frames = open_source(identify(discover([sys.argv[1]]).clips[0]), camera_config().video)
estimate = TrackSfmConfig().build("cpu").estimate(frames, 0)
posed = int(estimate.trajectory.posed.sum())
features = {name: value for name, value in estimate.quality.features if name.startswith("seam")}
print(json.dumps({"posed": posed, "frames": len(frames.view), "peak_gib": peak_gib(), **features}))
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_minute_of_video_stays_within_its_memory(tmp_path: Path) -> None:
    from wmkit.camera import Intrinsics
    from wmkit.executor.task import THREAD_ENV
    from wmkit.video.encode import write_mp4
    from wmkit.worlds import DEMO_CLIPS

    size = Intrinsics.from_fov(72.0, 960, 540)
    round_trip = replace(DEMO_CLIPS[0], path=Round(), position=(0.0, -1.5, 2.2), intrinsics=size, frames=241)
    pictures = [frame.rgb for frame in round_trip.render()]
    laps = (pictures[k % 240] for k in range(961))  # the last pose is the first: four rounds without a jump
    write_mp4(tmp_path / "minute.mp4", laps, 16.0, (960, 540))
    command = [sys.executable, "-c", RUN, str(tmp_path / "minute.mp4")]
    env = {**THREAD_ENV, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["frames"] == 961
    assert found["posed"] == 961
    assert found["peak_gib"] <= 1.5
    assert 0 < found["seam_rotation_deg"] < 0.5
    assert 0 < found["seam_position"] < 0.02
