"""`wmkit sample --refiner`: the released classes after the first stage, frame 0 dropped, and the same bytes again."""

from pathlib import Path

import numpy as np
import pytest

from tests.integration.test_train_sample import SETTINGS, call, frames_of
from tests.ltx2_doubles import saved_refiner
from tests.shard_samples import make_shards
from wmkit import cli

CHANNELS = 192  # of SETTINGS' latents


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"), clips=2)


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one step."""
    folder = tmp_path_factory.mktemp("refined")
    arguments = ["train", "--data", str(shards), "--out", str(folder / "run"), *SETTINGS, "--set", "steps=1"]
    assert cli.main(arguments) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def refiner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_refiner(tmp_path_factory.mktemp("refiner"), CHANNELS)


def test_a_refined_video_begins_after_the_picture(
    run: Path, refiner: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("sample", "--checkpoint", run, "--trajectory", "w-12", "--steps", 1)
    plain = call(capsys, *asked, "--out", tmp_path / "plain.mp4", "--refiner", "none")[1]["record"]
    code, told, _ = call(capsys, *asked, "--out", tmp_path / "a.mp4", "--refiner", refiner)
    assert code == 0
    record = told["record"]
    assert plain["refiner"] is None
    assert record["refiner"]["sigmas"] == [0.909375, 0.725, 0.421875, 0.0]
    assert record["refiner"]["dropped_frames"] == 1
    assert "LTX-2" in record["licences"]["refiner"]
    first, refined = frames_of(tmp_path / "plain.mp4"), frames_of(tmp_path / "a.mp4")
    assert (len(first), len(refined)) == (13, 12)
    assert np.abs(first[1:].astype(int) - refined).mean() > 3, "another video, not the same one cut"
    with np.load(tmp_path / "plain.trajectory.npz") as whole, np.load(tmp_path / "a.trajectory.npz") as cut:
        for name in ("world_from_cam", "intrinsics"):
            np.testing.assert_array_equal(cut[name], whole[name][1:])
        assert cut["time_s"].shape == (12,)
    assert call(capsys, "sample", "--repeat", tmp_path / "a.json", "--out", tmp_path / "b.mp4")[0] == 0
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "a.mp4").read_bytes()
    (refiner / "README.md").write_text("a card is not what it is loaded from\n")
    (refiner / "transformer" / "config.json").write_text("{}")
    code, _, err = call(capsys, "sample", "--repeat", tmp_path / "a.json", "--out", tmp_path / "c.mp4")
    assert (code, "its bytes have changed" in err.splitlines()[-1]) == (2, True)


def test_a_run_of_our_own_refines_too(
    run: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Begun from the first stage's weights through the command line, and used as it was trained."""
    own = tmp_path / "own"
    settings = [*SETTINGS, "--set", "steps=1", "--set", "optimizer.lr=0.05", "--set", "optimizer.warmup_steps=0"]
    refine = '{"sigma_start": 0.909375, "stage1_steps": 2, "degraded": 0.5, "factor": 2}'
    settings += ["--set", f"refine={refine}", "--start", run]
    assert call(capsys, "train", "--data", shards, "--out", own, *settings)[0] == 0
    asked = ("sample", "--checkpoint", run, "--trajectory", "w-12", "--steps", 1)
    code, told, _ = call(capsys, *asked, "--refiner", own, "--out", tmp_path / "a.mp4")
    assert (code, told["record"]["refiner"]["dropped_frames"]) == (0, 1)
    assert call(capsys, "sample", "--repeat", tmp_path / "a.json", "--out", tmp_path / "b.mp4")[0] == 0
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "a.mp4").read_bytes()
    code, _, err = call(capsys, *asked, "--refiner", run, "--out", tmp_path / "c.mp4")
    assert (code, "expected a run of a refiner's recipe" in err.splitlines()[-1]) == (2, True)
    code, _, err = call(capsys, "train", "--data", shards, "--out", tmp_path / "x", *settings, "--teacher", run)
    assert (code, "--teacher: expected --start and a recipe that takes one" in err.splitlines()[-1]) == (2, True)


def test_refusals_are_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = saved_refiner(tmp_path / "other", 6)
    (tmp_path / "empty").mkdir()
    for flags, word in (
        (["--refiner", tmp_path / "nowhere"], "found no such folder; name one, or use --refiner none"),
        (["--refiner", tmp_path / "empty"], "found a folder without either"),
        (["--refiner", other], "expected a refiner of 192 latent channels"),
        (["--refiner", other, "--sampler", "stream"], "expected --sampler euler or chunk, got stream"),
    ):
        code, told, err = call(capsys, "sample", "--checkpoint", run, "--out", tmp_path / "x.mp4", *flags)
        assert (code, told) == (2, {})
        assert word in err.splitlines()[-1]
    assert not (tmp_path / "x.mp4").exists()
