"""`wmkit sample` by text, by every sampler, for a length, again from its sidecar; and what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.integration.test_train_sample import SETTINGS, call, frames_of
from tests.shard_samples import make_shards
from wmkit import cli
from wmkit.camera_actions import action_path
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import Prompt, SamplerConfig
from wmkit.model.stream_sampler import stream_chunks
from wmkit.model.text import HashedText
from wmkit.sample import SampleOptions, run_sample
from wmkit.sample import run as sample_run
from wmkit.sample.generate import STREAM_KEEPS, Generation, generate
from wmkit.train.checkpoint import find_checkpoint, load_model
from wmkit.train.progress import SilentProgress

TEXT = ["--set", 'model.text={"channels": 16, "tokens": 8}', "--set", "objective.chunk_frames=1"]
# The last layer of a fresh model is zero: a greater rate makes three steps enough to tell texts apart.
TEXT += ["--set", "optimizer.lr=0.05", "--set", "optimizer.warmup_steps=0"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"), clips=2)


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three steps with text, trained chunk by chunk."""
    folder = tmp_path_factory.mktemp("text")
    arguments = ["train", "--data", str(shards), "--out", str(folder / "run"), *SETTINGS, *TEXT]
    assert cli.main(arguments) == 0
    return folder / "run"


def sampled(capsys: pytest.CaptureFixture[str], run: Path, out: Path, *flags: object) -> tuple[dict[str, Any], str]:
    arguments = ("sample", "--checkpoint", run, "--trajectory", "w-12", "--steps", 2, "--out", out, *flags)
    code, told, err = call(capsys, *arguments)
    assert code == 0
    return told["record"], err


def test_text_guidance_and_samplers_each_make_another_video(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = {
        "plain": ["--sampler", "euler"],
        "text": ["--sampler", "euler", "--prompt", "a red room"],
        "guided": ["--sampler", "euler", "--prompt", "a red room", "--guidance", 6],
        "chunk": ["--prompt", "a red room"],
        "stream": ["--sampler", "stream", "--prompt", "a red room"],
    }
    made, told = {}, {}
    for name, flags in ways.items():
        record, err = sampled(capsys, run, tmp_path / f"{name}.mp4", *flags)
        made[name], told[name] = (tmp_path / f"{name}.mp4").read_bytes(), err
        assert frames_of(tmp_path / f"{name}.mp4").shape == (13, 24, 32, 3)
        assert record["sampler"]["method"] == ("euler" if "euler" in flags else name)
    assert len(set(made.values())) == len(ways)
    assert "prompt: none, taken as an empty one" in told["plain"]
    assert "euler, of a model trained chunk by chunk" in told["plain"]
    assert "expect less" not in told["chunk"]
    assert not list(tmp_path.glob("*.partial.mp4"))


def test_a_stream_s_frames_are_its_latents_decoded_whole(run: Path) -> None:
    model, config = load_model(run)
    prompt = Prompt(text=HashedText(channels=16, tokens=8).encode(["a red room"]))
    poses = torch.tensor(action_path("w-24").world_from_cam, dtype=torch.float32)[None]
    intrinsics = torch.tensor([30.0, 30.0, 16.0, 12.0]).expand(1, 25, 4)
    cameras = CameraBatch(world_from_cam=poses, intrinsics=intrinsics, width=32, height=24)
    first = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    sampler = SamplerConfig(steps=2)
    asked = Generation(first=first, cameras=cameras, prompt=prompt, method="stream", sampler=sampler)
    frames = np.stack(list(generate(model, config.codec, asked, SilentProgress())))
    picture = config.codec.encode(torch.from_numpy(first).permute(2, 0, 1).float()[None, None] / 127.5 - 1)
    chunks = list(stream_chunks(model, picture, cameras, sampler, prompt, kept=STREAM_KEEPS))
    assert len(chunks) == 2
    whole = (config.codec.decode(torch.cat(chunks, dim=1))[0].permute(0, 2, 3, 1) + 1) * 127.5
    np.testing.assert_array_equal(frames, whole.round().clamp(0, 255).to(torch.uint8).numpy())


def test_a_stream_grows_and_is_playable(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sample_run.generate

    def stopping(*arguments: Any) -> Iterator[np.ndarray]:
        for count, frame in enumerate(real(*arguments)):
            if count == 36:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(sample_run, "generate", stopping)
    out = tmp_path / "walk.mp4"
    with pytest.raises(KeyboardInterrupt):
        run_sample(SampleOptions(checkpoint=run, trajectory="w-60", steps=1, sampler="stream", out=out))
    assert [path.name for path in tmp_path.iterdir()] == ["walk.partial.mp4"]
    seen = list(frames_of(tmp_path / "walk.partial.mp4").shape)
    # Fragments are a chunk's 12 frames each; the last of the three may not be written when the encoder is killed.
    assert 12 <= seen[0] <= 36
    assert seen[1:] == [24, 32, 3]


def test_seconds_cut_or_hold(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record, err = sampled(capsys, run, tmp_path / "a.mp4", "--seconds", 0.5)
    assert (record["trajectory"]["poses"], record["trajectory"]["frames"], record["trajectory"]["cut"]) == (9, 9, 4)
    assert "13 poses, cut to 9 by --seconds 0.5" in err
    record, err = sampled(capsys, run, tmp_path / "b.mp4", "--seconds", 1)
    assert (record["trajectory"]["held"], record["trajectory"]["frames"]) == (4, 17)
    assert "for --seconds 1 by holding the last pose" in err
    code, _, err = call(capsys, "sample", "--checkpoint", run, "--trajectory", "w-12", "--seconds", 1, "--out",
                        tmp_path / "c.mp4", "--exact-length")  # fmt: skip
    assert code == 2
    assert "expected a path of 17 = 1 + 4 k poses, got 13" in err.splitlines()[-1]
    assert sampled(capsys, run, tmp_path / "d.mp4", "--exact-length")[0]["trajectory"]["held"] == 0


def test_a_template_and_its_speed_against_the_training(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, _ = sampled(capsys, run, tmp_path / "a.mp4", "--trajectory", "hard/double-loop", "--seconds", 0.5)
    assert (record["trajectory"]["poses"], record["trajectory"]["meaning"]) == (9, "template")
    motion = json.loads((find_checkpoint(run) / "state.json").read_text())["data"]["motion"]
    assert motion["samples"] == 2
    assert motion["step"] == sorted(motion["step"])
    # The test's clips step by 0.1 a frame and hardly turn; w moves by 0.05 in sana-v1, d turns by 0.6 deg in sana-v2.
    _, err = sampled(capsys, run, tmp_path / "b.mp4", "--trajectory", "d-12")
    fast = max(motion["turn_deg"]) < 0.6
    assert ("speed: the path turns up to 0.6 deg a frame" in err) == fast


def test_a_sidecar_makes_the_same_bytes_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "path.npy", np.tile(np.eye(4), (5, 1, 1)))
    for name, flags in (("text", ["--prompt", "a street", "--guidance", 2]), ("file", ["--trajectory", "path.npy"])):
        flags = [tmp_path / flag if flag == "path.npy" else flag for flag in flags]
        sampled(capsys, run, tmp_path / f"{name}.mp4", *flags)
        again = tmp_path / f"{name}-again.mp4"
        code, _, _ = call(capsys, "sample", "--repeat", tmp_path / f"{name}.json", "--out", again)
        assert code == 0
        for suffix in (".mp4", ".trajectory.npz", ".json"):
            first = (tmp_path / f"{name}.mp4").with_suffix(suffix)
            assert first.read_bytes() == again.with_suffix(suffix).read_bytes(), (name, suffix)
    np.save(tmp_path / "path.npy", np.tile(np.eye(4), (9, 1, 1)))
    code, _, err = call(capsys, "sample", "--repeat", tmp_path / "file.json", "--out", tmp_path / "c.mp4")
    assert code == 2
    assert "its bytes have changed" in err.splitlines()[-1]
    (tmp_path / "bad.json").write_text("{}")
    code, _, err = call(capsys, "sample", "--repeat", tmp_path / "bad.json", "--out", tmp_path / "c.mp4")
    assert (code, "expected the record of a sample" in err) == (2, True)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--guidance", "-1"], "--guidance"),
        (["--seconds", "0"], "--seconds"),
        (["--trajectory", "simple/nowhere"], "simple/s-curve"),
        (["--convention", "opencv-w2c"], "expected a trajectory file"),
        (["--repeat", "nowhere.json"], "nowhere.json"),
        (["--sampler", "heun"], "heun"),
        (["--action-map", "minwm"], "minwm"),
    ],
)
def test_bad_flags_are_one_line(
    run: Path, tmp_path: Path, flags: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told, err = call(capsys, "sample", "--checkpoint", run, "--out", tmp_path / "x.mp4", *flags)
    assert (code, told) == (2, {})
    assert word in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_text_for_a_model_without_it(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "train", "--data", shards, "--out", tmp_path / "run", *SETTINGS)[0] == 0
    for flags in (["--prompt", "a room"], ["--guidance", 2]):
        code, _, err = call(capsys, "sample", "--checkpoint", tmp_path / "run", "--out", tmp_path / "x.mp4", *flags)
        assert code == 2
        assert "trained with text" in err.splitlines()[-1]


def test_a_metric_recipe_refuses_data_up_to_scale(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    code, _, err = call(capsys, "train", "--data", shards, "--out", out, *SETTINGS, "--set", "data.metric=true")
    assert code == 2
    assert "expected samples in metres, got 2 of 2 up to scale" in err.splitlines()[-1]
    assert not out.exists()


def test_keys_are_drawn_on_a_copy(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, drawn = tmp_path / "plain.mp4", tmp_path / "drawn.mp4"
    first, _ = sampled(capsys, run, plain)
    second, _ = sampled(capsys, run, drawn, "--keys-overlay")
    assert first == second, "what is drawn on a copy is no part of the sample"
    assert plain.read_bytes() == drawn.read_bytes()
    assert not (tmp_path / "plain.keys.mp4").exists()
    copy = frames_of(tmp_path / "drawn.keys.mp4")
    assert copy.shape == (13, 24, 32, 3)
    changed = np.abs(copy.astype(int) - frames_of(plain)).max(axis=(0, 3))
    assert changed[14:].max() > 40
    assert changed[:8].max() < 40, "the upper third has no keys; the copy is encoded again"
