"""`wmkit train` and `wmkit sample` through the command line, on shards of real video files."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import wmkit
from tests.shard_samples import make_shards
from tests.tiny_shards import members, sealed
from wmkit import cli
from wmkit.camera_actions import action_path
from wmkit.dataset.decode import fit_frames
from wmkit.sample.picture import read_picture
from wmkit.train.checkpoint import find_checkpoint
from wmkit.train.metrics_log import read_metrics
from wmkit.video import VideoConfig, discover, identify, open_source

SMALL = (
    "model.latent_channels=192", "model.latent_downscale=4", "model.width=16", "model.depth=2", "model.heads=2",
    "model.softmax_every=2", "data.height=24", "data.width=32", "data.frames=9", "steps=3", "save_every=2",
)  # fmt: skip
SETTINGS = [word for setting in SMALL for word in ("--set", setting)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 24 frames, up to scale."""
    return make_shards(tmp_path_factory.mktemp("shards"), clips=2)


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    assert cli.main(["train", "--data", str(shards), "--out", str(out), *SETTINGS]) == 0
    return out


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON object on stdout ({} without one), and stderr."""
    code = cli.main([*(str(argument) for argument in arguments), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def frames_of(video: Path) -> np.ndarray:
    file = identify(discover([video]).clips[0])
    return np.concatenate([window.rgb for window in open_source(file, VideoConfig(fps=None)).windows()])


def test_train_tells_units_and_result(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told, err = call(capsys, "train", "tiny-cpu", "--data", shards, "--out", tmp_path / "run", *SETTINGS)
    assert code == 0
    assert "2 samples: 0 metric, 2 up to scale, normalised by their median depth" in err
    assert "step 3/3" in err
    assert sorted(told) == [
        "checkpoint", "first_loss", "last_loss", "parameters", "recipe", "resumed", "samples", "seconds", "skipped",
        "steps",
    ]  # fmt: skip
    assert told["samples"] == {"metric": 0, "up_to_scale": 2}
    assert Path(told["checkpoint"]).name == "step-000003"


def test_train_resumes_on_shards_bit_for_bit(
    shards: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert call(capsys, "train", "--data", shards, "--out", out, *SETTINGS, "--set", "steps=2")[0] == 0
    code, told, _ = call(capsys, "train", "--data", shards, "--out", out, *SETTINGS, "--resume")
    assert (code, told["resumed"]) == (0, 2)
    for path in find_checkpoint(run).iterdir():
        assert path.read_bytes() == (find_checkpoint(out) / path.name).read_bytes(), path.name


def test_two_processes_take_the_steps_of_one(
    shards: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One process for two steps, then two for the third: a clip each, or half the frames of both."""
    wanted = load_file(find_checkpoint(run) / "model.safetensors")
    for cp in ("1", "2"):
        out = tmp_path / f"run{cp}"
        assert call(capsys, "train", "--data", shards, "--out", out, *SETTINGS, "--set", "steps=2")[0] == 0
        spread = ("--resume", "--processes", 2, "--set", f"parallel.cp={cp}", "--set", "parallel.recompute=true")
        assert cli.main(["train", "--data", str(shards), "--out", str(out), *SETTINGS, *map(str, spread)]) == 0
        capsys.readouterr()
        found = load_file(find_checkpoint(out) / "model.safetensors")
        assert found.keys() == wanted.keys()
        # float32, a step of AdamW: where a gradient is rounding alone, its sign decides over the whole step (lr 2e-3).
        off = torch.cat([(found[name] - wanted[name]).abs().flatten() for name in wanted])
        assert (off > 1e-5).float().mean() < 0.01
        losses = [read_metrics(folder / "metrics.jsonl")[2].loss for folder in (run, out)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_too_many_processes_are_one_line(shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--data", str(shards), "--out", str(tmp_path / "run"), *SETTINGS, "--processes", "3"]
    assert cli.main(arguments) != 0
    assert "data.batch_size: expected at least 3" in capfd.readouterr().err


def test_a_run_shows_itself(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra wmkit[tensorboard]")
    out = tmp_path / "run"
    flags = ["--tensorboard", "--sample-every", 2]
    code, _, err = call(capsys, "train", "--data", shards, "--out", out, *SETTINGS, "--set", "steps=2", *flags)
    assert code == 0
    last = err.splitlines()[-1]
    for word in ("loss", "steps/s", "tokens/s", "GFLOP/s", "waiting for data", "GiB"):
        assert word in last
    assert [path.name for path in (out / "samples").iterdir()] == ["step-000002.mp4"]
    assert len(list((out / "events").iterdir())) == 1
    code, _, err = call(capsys, "train", "--data", shards, "--out", out, *SETTINGS, "--sample-every", -1)
    assert code == 2
    assert "--sample-every: expected a number of steps" in err


def test_skipped_samples_are_told(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(
        capsys, "train", "--data", shards, "--out", tmp_path / "run", *SETTINGS, "--set", "data.frames=25"
    )
    assert code == 2
    assert "25 consecutive posed frames" in err


def test_sample_writes_video_cameras_and_recipe(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "walk.mp4"
    arguments = ("sample", "--checkpoint", run, "--trajectory", "w-9", "--out", out, "--steps", 2, "--seed", 5)
    code, told, err = call(capsys, *arguments)
    assert code == 0
    assert "intrinsics: fov 60 deg assumed" in err
    assert "10 poses, rounded up to 13 = 1 + 4 k frames by holding the last pose" in err
    assert "13 frames in one go, of a model trained on 9" in err
    assert "2 of 2 training samples were in units of their median depth" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["walk.json", "walk.mp4", "walk.trajectory.npz"]

    rgb = frames_of(out)
    assert rgb.shape == (13, 24, 32, 3)
    bundled = read_picture(Path(wmkit.__file__).parent / "sample" / "room.jpg").rgb
    first, cameras = fit_frames(bundled[None], np.array([[415.692, 415.692, 240, 160]]), 32, 24)
    # H.264 at crf 18 with 4:2:0 of a busy little picture; another picture is off by far more
    assert np.abs(rgb[0].astype(float) - first[0]).mean() < 8

    with np.load(tmp_path / "walk.trajectory.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    assert sorted(arrays) == ["intrinsics", "posed", "time_s", "world_from_cam"]
    np.testing.assert_array_equal(arrays["world_from_cam"][:10], action_path("w-9").world_from_cam)
    np.testing.assert_array_equal(arrays["world_from_cam"][10:], arrays["world_from_cam"][[9, 9, 9]])
    np.testing.assert_allclose(arrays["time_s"], np.arange(13) / 16)
    assert arrays["posed"].all()
    np.testing.assert_allclose(arrays["intrinsics"], np.tile(cameras, (13, 1)), atol=1e-4)

    record = json.loads((tmp_path / "walk.json").read_text())
    assert record == told["record"]
    assert record["video"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (
        record["checkpoint"]["sha256"]
        == hashlib.sha256((find_checkpoint(run) / "model.safetensors").read_bytes()).hexdigest()
    )
    assert record["trajectory"] | {"sha256": "", "meaning": ""} == {
        "source": "w-9", "sha256": "", "poses": 10, "frames": 13, "held": 3, "cut": 0, "stride": 4, "scale": "metric",
        "unit": "metres", "meaning": "",
    }  # fmt: skip
    assert "w/s move forward/back" in record["trajectory"]["meaning"]
    assert record["trajectory"]["meaning"] in err
    assert record["sampler"] == {"method": "euler", "steps": 2, "shift": 3.0, "seed": 5}
    assert "480x320 px resized and cropped at its centre to 32x24" in err
    with av.open(str(out)) as container:
        tags = json.loads(container.metadata["comment"])
    assert tags["generated"] is True
    assert tags["checkpoint"] == record["checkpoint"]
    assert tags["licences"] == {"pixel-unshuffle": "none: no weights"}
    assert record["intrinsics"] == {"source": "fov 60 deg assumed", "sha256": None}


def test_the_same_inputs_give_the_same_bytes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = ("--trajectory", "d-4", "--out", tmp_path / f"{name}.mp4", "--steps", 1, "--seed", seed)
        assert call(capsys, "sample", "--checkpoint", run, *arguments)[0] == 0
    for suffix in (".mp4", ".trajectory.npz", ".json"):
        a, b = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("a", "b"))
        assert a == b, suffix
    assert (tmp_path / "a.mp4").read_bytes() != (tmp_path / "c.mp4").read_bytes()


def test_a_sample_s_own_cameras_are_a_path(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What sample writes, sample (and eval) reads; a checkpoint folder and a picture by name do as well."""
    cv2.imwrite(str(tmp_path / "in.png"), np.full((50, 90, 3), 120, np.uint8))
    common = ("sample", "--checkpoint", find_checkpoint(run), "--image", tmp_path / "in.png", "--steps", 1)
    assert call(capsys, *common, "--trajectory", "w-4", "--out", tmp_path / "a.mp4", "--fov-deg", 70)[0] == 0
    again = call(capsys, *common, "--trajectory", tmp_path / "a.trajectory.npz", "--out", tmp_path / "b.mp4",
                 "--fov-deg", 70)  # fmt: skip
    assert again[0] == 0
    assert again[1]["record"]["trajectory"]["scale"] == "up_to_scale"
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--image", "note.txt"], "does not decode"),
        (["--image", "none.png"], "No such file"),
        (["--trajectory", "nan.npz"], "have none"),
        (["--trajectory", "one.npz"], "at least 2 poses"),
        (["--trajectory", "w-0"], "'w-0'"),
        (["--intrinsics", "wide.npy"], "another size"),
        (["--intrinsics", "wide.npy", "--fov-deg", "60"], "got both"),
        (["--fov-deg", "5"], "25 to 120"),
        (["--checkpoint", "nowhere"], "no such folder"),
        (["--out", "nowhere/a.mp4"], "nowhere"),
        (["--out", "a.avi"], ".mp4"),
        (["--out", "folder.mp4"], "folder"),
        (["--steps", "0"], "--steps"),
        (["--seed", "-1"], "--seed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_of_sample(
    flags: list[str], word: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("note.txt").write_text("no picture")
    Path("folder.mp4").mkdir()
    poses = np.tile(np.eye(4), (5, 1, 1))
    np.savez("one.npz", world_from_cam=poses[:1])
    poses[2] = np.nan
    np.savez("nan.npz", world_from_cam=poses)
    np.save("wide.npy", np.array([900.0, 900.0, 640.0, 360.0]))
    before = sorted(path.name for path in tmp_path.iterdir())
    default = [] if "--checkpoint" in flags else ["--checkpoint", str(run)]
    code, told, err = call(capsys, "sample", *default, *flags)
    assert (code, told) == (2, {})
    assert word in err.splitlines()[-1]
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "code", "word"),
    [
        (["--data", "nowhere"], 2, "build-shards"),
        (["--set", "steps"], 2, "key=value"),
        (["--set", "model.widht=3"], 2, "did you mean 'width'"),
        (["--resume"], 2, "found no such folder; train one"),
        (["--workers", "-1"], 2, "--workers: expected at least 1"),
        (["--data", "blind"], 1, "expected cameras (.trajectory.npy) of every sample"),
        (["huge"], 2, "huge"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_of_train(
    flags: list[str], code: int, word: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    sealed(tmp_path / "blind", [row for row in members() if row[1] != "trajectory.npy"])
    default = [] if "--data" in flags else ["--data", str(shards)]
    got, told, err = call(capsys, "train", *flags, *default, "--out", tmp_path / "run", *SETTINGS)
    assert (got, told) == (code, {})
    assert not (tmp_path / "run").exists()
    assert word in err.splitlines()[-1]


def test_a_run_of_another_config(run: Path, shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(
        capsys, "train", "--data", shards, "--out", run, *SETTINGS, "--set", "model.depth=1", "--resume"
    )
    assert code == 2
    assert "has model.depth = 2, this run asks for 1" in err.splitlines()[-1]
    code, told, _ = call(capsys, "train", "--data", shards, "--out", run, *SETTINGS)
    assert (code, told["steps"], told["resumed"]) == (0, 3, 3)  # the same config has nothing left to do


def test_a_shard_cut_short(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = shutil.copytree(shards, tmp_path / "shards")
    shard = next(cut.glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-2000])
    code, _, err = call(capsys, "train", "--data", cut, "--out", tmp_path / "run", *SETTINGS)
    assert code == 1
    assert shard.name in err.splitlines()[-1]


def test_an_interrupted_training_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wmkit.train.run.run_train", interrupted)
    assert cli.main(["train"]) == 130
    told = capsys.readouterr().err
    assert told == "interrupted: the same command goes on from the last checkpoint\n"
