"""The map of trajectories: who is on it, and that a small path is the path."""

import re
from pathlib import Path

import numpy as np

from tests.large_ledger import write_large_corpus
from tests.unit.annotate.report.samples import add, new_corpus, opened, posed, still, write_pictures
from wmkit.annotate.report.paths import path_map, path_svg, sampled_paths
from wmkit.camera import ScaleKind, Trajectory
from wmkit.corpus import Status


def trajectory_of(x: np.ndarray, z: np.ndarray, posed_frames: np.ndarray) -> Trajectory:
    poses = np.tile(np.eye(4), (len(x), 1, 1))
    poses[:, 0, 3], poses[:, 2, 3] = x, z
    poses[~posed_frames] = np.nan
    return Trajectory(
        world_from_cam=poses, time_s=np.arange(len(x)) / 16.0, posed=posed_frames, scale=ScaleKind.UP_TO_SCALE
    )


def corners(svg: str) -> list[np.ndarray]:
    """(n, 2) px of every line."""
    lines = re.findall(r'<path class="trace passes" d="M([^"]*)"', svg)
    return [np.array([[float(word) for word in pair.split()] for pair in line.split("L")]) for line in lines]


def test_a_path_fills_its_box_with_equal_axes_and_forward_is_up() -> None:
    every = np.ones(3, dtype=bool)
    (line,) = corners(path_svg(trajectory_of(np.array([0.0, 0, 5]), np.array([0.0, 10, 10]), every), "a", "passes"))
    np.testing.assert_allclose(line, [[27, 81], [27, 9], [63, 9]], atol=0.06)  # one decimal in the file


def test_nothing_is_drawn_across_a_gap_and_long_paths_are_thinned() -> None:
    flags = np.ones(1_000, dtype=bool)
    flags[400:500] = False
    angle = np.linspace(0, 6, 1_000)
    first, second = corners(path_svg(trajectory_of(np.cos(angle), np.sin(angle), flags), "a", "passes"))
    assert len(first) == len(second) == 80
    where = path_svg(trajectory_of(np.zeros(4), np.zeros(4), np.ones(4, dtype=bool)), "still <b>", "passes")
    np.testing.assert_allclose(corners(where)[0], 45.0, err_msg="a camera that stands still is in the middle")
    assert "still &lt;b&gt;" in where


def test_the_sample_is_spread_over_clips_with_a_trajectory(tmp_path: Path) -> None:
    columns = write_large_corpus(tmp_path / "corpus", 500, {"blur": ""}).columns()
    first = np.where(np.arange(500) % 2 == 0, -1, 0)
    chosen = sampled_paths(columns, first, most=40)
    ids, good = columns.words("clip_id"), columns.is_status(Status.OK)
    rows = [ids.index(clip_id) for clip_id in chosen]
    assert len(chosen) == 40
    assert good[rows].all()
    assert [chosen[ids[row]] for row in rows] == [row % 2 == 0 for row in rows]
    assert (np.diff(rows) < 30).all(), "evenly, from the first to the last"
    assert len(sampled_paths(columns, first, most=1_000)) == good.sum()


def test_the_map_reads_the_clips_and_counts_those_it_cannot(tmp_path: Path) -> None:
    corpus = new_corpus(tmp_path / "corpus")
    files = [write_pictures(tmp_path / "in" / name, 9, first=9 * index) for index, name in enumerate("abc")]
    metric = add(corpus, files[0], posed(opened(files[0]), metric=True))
    lost = add(corpus, files[1], posed(opened(files[1])))
    add(corpus, files[2], still(opened(files[2])))
    (corpus.folder(lost.clip_id) / "trajectory.npz").unlink()
    columns = corpus.columns()
    shown = path_map(corpus, columns, np.zeros(3, dtype=np.int64))
    (tile,) = shown.tiles
    assert (tile.clip_id, tile.style, shown.total, shown.unread) == (metric.clip_id, "fails", 2, 1)
    length = corpus.read(metric.clip_id).trajectory
    assert length is not None
    assert tile.words == f"{length.path_length:.2f} m"
