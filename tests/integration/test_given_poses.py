"""`wmkit annotate --poses` and `--pose-command` through the command line, and what is exported again."""

import dataclasses
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.unit.house.source_tree import ROOT
from wmkit.cli import main
from wmkit.corpus import Corpus
from wmkit.formats.any import read_trajectory
from wmkit.metrics import align
from wmkit.worlds import SMALL_CLIPS, WrittenClip, write_world

CLIP = dataclasses.replace(SMALL_CLIPS[0], intrinsics=SMALL_CLIPS[0].intrinsics.resized(480, 288), frames=10)
EXAMPLE = ROOT / "examples" / "pose_by_essential_matrices.py"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> WrittenClip:
    return write_world(CLIP, tmp_path_factory.mktemp("world"))


def annotate(world: WrittenClip, out: Path, *flags: str) -> int:
    command = ["annotate", str(world.video), "--out", str(out), "--fps", "native", "--executor", "local"]
    return main([*command, "--workers", "1", *flags])


def only_clip(out: Path):
    corpus = Corpus.open(out)
    (row,) = corpus.latest(corpus.ledger()).values()
    return corpus.read(row.clip_id)


def test_given_poses_end_to_end_and_out_again(world: WrittenClip, tmp_path: Path) -> None:
    assert annotate(world, tmp_path / "corpus", "--poses", str(world.poses), "--strict") == 0
    annotation, truth = only_clip(tmp_path / "corpus"), read_trajectory(world.poses)
    assert annotation.trajectory is not None
    assert annotation.provenance.backends[0].name == "given"
    assert annotation.metric_hint_sigma_log == 0.02
    np.testing.assert_array_equal(annotation.intrinsics_rows, truth.intrinsics_px)
    if annotation.scale is None:  # a cue may have voted from the hint
        np.testing.assert_array_equal(annotation.trajectory.world_from_cam, truth.world_from_cam)
    assert annotation.depth is not None
    scale = 1.0 if annotation.scale is None else annotation.scale.value
    for kind in ("tum", "colmap", "nerfstudio", "kitti"):
        export = ["export", str(tmp_path / "corpus"), "--format", kind, "--out", str(tmp_path / kind)]
        assert main(export) == 0
        track = read_trajectory(readable(tmp_path / kind, kind))
        want = truth.world_from_cam.copy()
        want[:, :3, 3] *= scale
        np.testing.assert_allclose(track.world_from_cam, want, rtol=0, atol=1e-9)  # text and quaternions


def readable(folder: Path, kind: str) -> Path:
    if kind == "colmap":
        return next(folder.rglob("cameras.txt")).parent
    return next(folder.rglob("transforms.json")) if kind == "nerfstudio" else next(folder.glob("*.txt"))


def test_poses_beside_a_clip_are_not_read_unasked(world: WrittenClip, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(world.video.read_bytes())
    document = json.loads(world.poses.read_text())
    late = [frame | {"t": 7 * frame["t"] + 3} for frame in document["frames"]]
    (folder / "a.poses.json").write_text(json.dumps(document | {"frames": late[:3]}))
    lied = dataclasses.replace(world, video=folder / "a.mp4")
    assert annotate(lied, tmp_path / "plain", "--depth", "none") == 0
    assert only_clip(tmp_path / "plain").provenance.backends[0].name == "track-sfm"
    assert annotate(lied, tmp_path / "auto", "--depth", "none", "--poses", "auto") == 1  # every clip failed
    (letter,) = (tmp_path / "auto" / "dead-letter").iterdir()
    text = json.loads(letter.read_text())
    assert (text["stage"], text["code"]) == ("pose", "wrong_length")
    assert "--poses auto" in text["command"]
    (folder / "a.poses.json").write_text(json.dumps(document))
    assert annotate(lied, tmp_path / "auto", "--depth", "none", "--poses", "auto") == 0


def test_a_file_beside_a_clip_is_part_of_it(world: WrittenClip, tmp_path: Path) -> None:
    folder, corpus = tmp_path / "clips", tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(world.video.read_bytes())
    (folder / "a.poses.json").write_bytes(world.poses.read_bytes())
    (folder / "a.txt").write_text("A room.")
    clip, flags = dataclasses.replace(world, video=folder / "a.mp4"), ("--poses", "auto", "--captions", "auto")

    def attempts() -> int:
        assert annotate(clip, corpus, "--depth", "none", *flags) == 0
        return len(Corpus.open(corpus).ledger())

    assert [attempts(), attempts()] == [1, 1]
    (folder / "a.txt").write_text("A blue room.")
    assert [attempts(), attempts()] == [2, 2]
    caption = only_clip(corpus).caption
    assert caption is not None
    assert caption.text == "A blue room."
    (folder / "b.poses.json").write_text("another clip's")
    (folder / "a.txt").unlink()
    assert [attempts(), attempts()] == [3, 3]
    assert only_clip(corpus).caption is None


def test_the_prior_used_is_on_record(world: WrittenClip, tmp_path: Path) -> None:
    assert annotate(world, tmp_path / "c", "--poses", str(world.poses), "--fov-deg", "70", "--depth", "none") == 0
    (record,) = (tmp_path / "c").glob("clips/*/*/annotation.json")
    prior = json.loads(record.read_text())["prior"]
    assert prior["source"] == "--fov-deg 70"
    assert prior["fx"] == pytest.approx(CLIP.intrinsics.fx)  # the world was rendered at 70 degrees
    assert set(prior) == {"fx", "fy", "cx", "cy", "sigma_log", "source"}


def test_the_example_pose_program_end_to_end(world: WrittenClip, tmp_path: Path) -> None:
    command = shlex.join([sys.executable, str(EXAMPLE)])
    flags = ("--pose-command", command, "--fov-deg", "70", "--strict")
    assert annotate(world, tmp_path / "corpus", *flags) == 0
    annotation, truth = only_clip(tmp_path / "corpus"), read_trajectory(world.poses)
    assert annotation.trajectory is not None
    assert annotation.provenance.backends[0].name == "command"
    assert annotation.provenance.backends[0].licence == "unknown"
    assert annotation.trajectory.posed.all()
    found, true = annotation.trajectory.position, truth.world_from_cam[:, :3, 3]
    fitted = align(found, true, with_scale=True)
    error = np.linalg.norm(fitted.apply(found) - true, axis=1)
    # a chain without adjustment on ten frames: a few per cent of the path of about a metre
    assert error.max() < 0.1 * np.linalg.norm(np.diff(true, axis=0), axis=1).sum()


def test_flags_that_exclude_each_other(world: WrittenClip, tmp_path: Path) -> None:
    for flags in (("--poses", "auto", "--pose-command", "x"), ("--pose-weights", "vggt-1b")):
        assert annotate(world, tmp_path / "corpus", *flags) == 2
