"""The default engine through `annotate` on small rendered worlds: what moves, what stands, what turns, what is bent."""

from pathlib import Path

import numpy as np
import pytest

from tests.pose_worlds import (
    CASES,
    LENS,
    LENS_CLIP,
    cameras_alone,
    filmed,
    flickering,
    read_line_by_line,
    through_the_lens,
    write_clip,
)
from wmkit.annotate.pipeline import annotate_clip
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.protocols import PoseEstimate
from wmkit.annotate.run import RunOptions, run_annotate
from wmkit.clip import Annotation
from wmkit.corpus import Corpus
from wmkit.executor import ExecutorOptions
from wmkit.metrics import absolute_trajectory_error, rotation_error
from wmkit.video import discover, identify
from wmkit.worlds.families import MemorySource

WORKERS = (1, 2)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[Corpus]:
    """The same clips annotated by one worker and by two."""
    root = tmp_path_factory.mktemp("worlds")
    for name in CASES:
        write_clip(filmed(name).rgb, root / "in" / name)
    for count in WORKERS:
        options = RunOptions(executor=ExecutorOptions(kind="local", workers=count, timeout_s=100.0))
        run_annotate([root / "in"], root / f"corpus{count}", cameras_alone(), options, SilentProgress())
    return [Corpus.open(root / f"corpus{count}") for count in WORKERS]


def annotation_of(corpus: Corpus, name: str) -> Annotation:
    (clip_id,) = (row.clip_id for row in corpus.sources() if row.name == name)
    return corpus.read(clip_id)


def test_a_camera_that_moves_is_posed_and_judged(corpora: list[Corpus]) -> None:
    annotation, truth = annotation_of(corpora[0], "moves"), filmed("moves")
    assert annotation.trajectory is not None
    assert annotation.trajectory.posed.all()
    # measured 0.05 % of the path and 0.09 degrees; the limits of a good clip are 2 % and 1.5 degrees
    error = absolute_trajectory_error(annotation.trajectory, truth.trajectory, with_scale=True)
    assert error.value < 0.005 * truth.trajectory.path_length
    assert rotation_error(annotation.trajectory, truth.trajectory).value < 0.4
    assert annotation.intrinsics[0].fx == pytest.approx(truth.intrinsics[0].fx, rel=0.05)
    assert annotation.trajectory.covariance is not None
    assert annotation.confidence is not None
    features = dict(annotation.confidence.quality.features)
    assert features["second_posed_share"] == 1.0
    assert features["disagreement_rotation_deg"] < 1.5


def test_a_camera_that_stands_is_named(corpora: list[Corpus]) -> None:
    annotation = annotation_of(corpora[0], "stands")
    assert annotation.trajectory is None
    assert annotation.no_trajectory is not None
    assert annotation.no_trajectory.reason == "static"
    assert annotation.no_trajectory.rotation is None


def test_a_camera_that_turns_is_named_and_its_rotations_are_exact(corpora: list[Corpus]) -> None:
    annotation, truth = annotation_of(corpora[0], "turns"), filmed("turns")
    assert annotation.trajectory is None
    none = annotation.no_trajectory
    assert none is not None
    assert none.reason == "pure_rotation"
    assert none.rotation is not None
    assert none.focal_px == pytest.approx(truth.intrinsics[0].fx, rel=0.03)
    true = truth.trajectory.world_from_cam[:, :3, :3]
    relative = np.swapaxes(none.rotation, 1, 2) @ true[0].T @ true
    sine = np.linalg.norm(relative - np.swapaxes(relative, 1, 2), axis=(1, 2)) / np.sqrt(8)
    turned = np.linalg.norm(true[0].T @ true - np.swapaxes(true[0].T @ true, 1, 2), axis=(1, 2)) / np.sqrt(8)
    assert np.degrees(turned.max()) > 20
    assert np.degrees(sine.max()) < 0.1


def test_one_worker_or_two_give_the_same_bytes(corpora: list[Corpus]) -> None:
    one, two = corpora
    assert len(one.clip_ids()) == len(CASES)
    assert one.corpus_hash() == two.corpus_hash()


def test_another_run_in_this_process_gives_the_same_trajectory(corpora: list[Corpus]) -> None:
    kept = annotation_of(corpora[0], "moves")
    folder = corpora[0].path.parent / "in" / "moves"
    (found,) = discover([folder]).clips
    again = annotate_clip(identify(found), cameras_alone()).annotation
    assert again.trajectory is not None
    assert kept.trajectory is not None
    assert again.trajectory.world_from_cam.tobytes() == kept.trajectory.world_from_cam.tobytes()
    assert again.intrinsics == kept.intrinsics
    assert again.points is not None
    assert kept.points is not None
    assert again.points.xyz.tobytes() == kept.points.xyz.tobytes()


def test_a_lens_is_found_and_all_that_follows_is_a_pinholes(tmp_path: Path) -> None:
    write_clip(through_the_lens(), tmp_path / "bent")
    (found,) = discover([tmp_path / "bent"]).clips
    annotation = annotate_clip(identify(found), cameras_alone()).annotation
    assert annotation.trajectory is not None
    lens = annotation.view.lens
    assert lens is not None, "the fisheye bends the corner by more than a fifth of the diagonal"
    assert set(annotation.intrinsics) == {lens.default_pinhole()}
    grid = np.stack(np.meshgrid(np.linspace(8, 312, 12), np.linspace(8, 172, 8)), -1).reshape(-1, 2)
    core = LENS.undistorted_core
    off = np.linalg.norm(lens.to_pinhole(grid, core) - LENS.to_pinhole(grid, core), axis=1)
    bent = np.linalg.norm(grid - LENS.to_pinhole(grid, core), axis=1)
    assert bent.max() > 40
    # 1.68 px measured: on 320 px a longer focal length and more bending trade for one another
    assert np.median(off) < 2.0
    truth = LENS_CLIP.trajectory
    assert annotation.trajectory.posed.all()
    error = absolute_trajectory_error(annotation.trajectory, truth, with_scale=True)
    assert error.value < 0.01 * truth.path_length
    assert rotation_error(annotation.trajectory, truth).value < 0.6


@pytest.mark.parametrize("trouble", ["rolling shutter", "exposure jumps"])
def test_a_cheap_camera_costs_little(trouble: str) -> None:
    truth = filmed("moves")
    # a readout of 40 % of the frame interval is that of a phone at 16 frames a second
    pictures = read_line_by_line("moves", 0.4) if trouble == "rolling shutter" else flickering(truth.rgb)
    assert np.abs(pictures.astype(int) - truth.rgb).mean() > 3, "the trouble is there"
    found = cameras_alone().pose.build("cpu").estimate(MemorySource(pictures, 8.0), 0)
    assert isinstance(found, PoseEstimate)
    assert found.trajectory.posed.all()
    # of a good clip: 2 % of the path and 1.5 degrees
    error = absolute_trajectory_error(found.trajectory, truth.trajectory, with_scale=True)
    assert error.value < 0.02 * truth.trajectory.path_length
    assert rotation_error(found.trajectory, truth.trajectory).value < 1.5
