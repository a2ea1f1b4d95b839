"""`wmkit train` on precomputed shards, and on shards behind a URL: the steps that decoding would have given."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.component_doubles import tiny_module
from tests.http_folder import http_folder
from tests.precompute_doubles import captioned_shards, in_this_process
from tests.train_doubles import FACTS, small_config
from wmkit import cli
from wmkit.dataset.batch import Batch
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.errors import ConfigError
from wmkit.train.checkpoint import find_checkpoint
from wmkit.train.encoders import CodecChoice, TextChoice
from wmkit.train.loop import train
from wmkit.train.metrics_log import read_metrics
from wmkit.train.precompute import PrecomputeOptions, precompute

TEXT = 'model.text={"channels": 8, "tokens": 4}'
SIZES = ("data.frames=9", "data.height=24", "data.width=32", "condition.text_dropout=0.5", TEXT)
SMALL = [*SIZES, "model.latent_channels=96", "model.latent_stride=2", "model.latent_downscale=4", "model.width=16",
         "model.depth=2", "model.heads=2", "model.softmax_every=2", "steps=3", "save_every=2"]  # fmt: skip
SETTINGS = [word for setting in SMALL for word in ("--set", setting)]
OPTIONS = PrecomputeOptions(
    vae=CodecChoice.parse("pixel-unshuffle=2x4"),
    text=TextChoice.parse("hashed=8x4"),
    frames=9,
    hop=3,
    size=(24, 32),
    precision="float32",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captioned_shards(tmp_path_factory.mktemp("train-latents"), clips=2)


@pytest.fixture(scope="module")
def stored(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Precomputed shards with these options, made without processes."""
    folder = tmp_path_factory.mktemp("stored")

    def make(**changes: Any) -> Path:
        out = folder / "-".join(f"{name}={value}".replace("/", "_") for name, value in changes.items() or {("a", 1)})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("wmkit.train.precompute.run_items", in_this_process)
            assert precompute(source, out, replace(OPTIONS, **changes)).exit_code == 0
        return out

    return make


def trained(shards: Path, out: Path, *, stored: bool) -> Path:
    """Three steps on crops that begin where windows do: with their latents and states, or with frames and words."""
    config = small_config(*SIZES, "steps=3")
    loader = StreamingShards(
        shards,
        LoaderConfig(
            frames=9,
            height=24,
            width=32,
            batch_size=2,
            picture="latent" if stored else "both",
            texts=stored,
            captions=True,
        ),
    )

    def batches(step: int) -> Batch:
        batch = loader.replay(step)
        return batch if stored else replace(batch, latent=None)

    return train(config, batches, FACTS, out).checkpoint


def test_steps_from_the_shards_are_those_from_decoding(stored: Callable[..., Path], tmp_path: Path) -> None:
    """Latents in float32 and hashed words are what decoding gives, bit for bit, and so is all that follows."""
    exact = stored()
    read, decoded = (trained(exact, tmp_path / str(kept), stored=kept) for kept in (True, False))
    for path in read.iterdir():
        assert path.read_bytes() == (decoded / path.name).read_bytes(), path.name
    half = trained(stored(precision="float16"), tmp_path / "half", stored=True)
    losses = [[row.loss for row in read_metrics(path.parents[1] / "metrics.jsonl")] for path in (read, half)]
    # Inputs are 2^-12 off at most; a loss of about 1 is their square's mean, and three steps hardly move the weights.
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    assert losses[1] != losses[0]


def test_the_verb_decodes_nothing(
    stored: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr("wmkit.dataset.crops.decode_frames", refuse)
    command = ["train", "--data", str(stored()), "--out", str(tmp_path / "run"), *SETTINGS]
    assert cli.main(command) == 0
    err = capsys.readouterr().err
    assert "latents of pixel-unshuffle (96 channels, 2 frames, 4 px) from the shards: no frame is decoded" in err
    assert "captions by hashed from there too" in err
    with pytest.raises(AssertionError, match="a frame was decoded"):
        cli.main([*command[:4], str(tmp_path / "other"), *SETTINGS, "--set", "data.latents=false"])


def test_videos_are_made_of_precomputed_shards(stored: Callable[..., Path], tmp_path: Path) -> None:
    command = ["train", "--data", str(stored()), "--out", str(tmp_path / "run"), *SETTINGS, "--sample-every", "3"]
    assert cli.main(command) == 0
    assert [path.name for path in (tmp_path / "run" / "samples").iterdir()] == ["step-000003.mp4"]


@pytest.mark.parametrize(
    ("changes", "settings", "line"),
    [
        (
            {"vae": CodecChoice.parse("pixel-unshuffle=4x4"), "text": None},
            (),
            "expected latents of pixel-unshuffle (96 channels, 2 frames, 4 px), got pixel-unshuffle (192 channels, 4",
        ),
        ({"text": TextChoice.parse("hashed=8x5")}, (), "expected text states of hashed (8 channels, 4 tokens), got"),
        ({}, ("data.vae=wan",), "expected latents of wan (96 channels, 2 frames, 4 px), got pixel-unshuffle"),
        ({}, ("data.height=48",), "expected latents of 48x32 px"),
        ({}, ("data.frames=11",), "11 consecutive posed frames in a window that was encoded"),
    ],
)
def test_latents_of_something_else_are_one_line(
    changes: dict[str, Any],
    settings: tuple[str, ...],
    line: str,
    stored: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = [word for setting in settings for word in ("--set", setting)]
    command = ["train", "--data", str(stored(**changes)), "--out", str(tmp_path / "run"), *SETTINGS, *more]
    assert cli.main(command) == 2
    err = capsys.readouterr().err.splitlines()
    assert line in err[-1]


def test_a_model_of_a_vaes_latents(
    source: Path, stored: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tiny LTX-2 latents: trained on where they are in the shards, and told where they are not."""
    tiny_module("ltx2").save_pretrained(tmp_path / "vae")
    vae = ["--set", "data.vae=ltx2", "--set", "model.latent_channels=16", "--set", "model.latent_stride=8"]
    vae += ["--set", "model.latent_downscale=32", "--set", "data.frames=17", "--set", "data.height=64"]
    command = ["train", "--out", str(tmp_path / "run"), *SETTINGS, *vae, "--data"]
    assert cli.main([*command, str(source)]) == 2
    assert "expected latents of ltx2 (16 channels, 8 frames, 32 px), got none" in capsys.readouterr().err
    made = stored(vae=CodecChoice.parse(f"ltx2={tmp_path}"), frames=17, size=(64, 32))
    assert cli.main([*command, str(made)]) == 0
    assert "latents of ltx2" in capsys.readouterr().err
    assert cli.main(["sample", "--checkpoint", str(tmp_path / "run"), "--out", str(tmp_path / "a.mp4")]) == 2
    assert "--vae: expected ltx2=FOLDER" in capsys.readouterr().err


def test_what_is_not_loaded_here_says_so() -> None:
    with pytest.raises(ConfigError, match="run wmkit precompute"):
        assert small_config("data.vae=wan").codec
    with pytest.raises(ConfigError, match="run wmkit precompute --text"):
        assert small_config(TEXT, "condition.encoder=gemma-2").text_encoder


def test_shards_behind_a_url_give_the_same_run(
    source: Path, stored: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WMKIT_CACHE", str(tmp_path / "cache"))
    for name, shards in (("plain", source), ("latents", stored())):
        with http_folder(shards) as served:
            for place in (str(shards), served.url):
                out = tmp_path / name / str(place == served.url)
                assert cli.main(["train", "--data", place, "--out", str(out), *SETTINGS]) == 0
            ranges = [asked for method, path, asked in served.requests if method == "GET" and path.endswith(".tar")]
            assert None not in ranges, "never a whole tar"
            assert sum(path.endswith("index.parquet") for method, path, _ in served.requests if method == "GET") == 1
            # Two samples whole, and of each its trajectory alone, for how fast its camera moves.
            assert len(set(ranges)) == len(ranges) == 4
        here, there = (find_checkpoint(tmp_path / name / far) for far in ("False", "True"))
        for path in here.iterdir():
            assert path.read_bytes() == (there / path.name).read_bytes(), path.name


def test_worker_processes_change_no_byte(stored: Callable[..., Path], tmp_path: Path) -> None:
    shards = stored()
    for workers in ("0", "2"):
        command = ["train", "--data", str(shards), "--out", str(tmp_path / workers), "--workers", workers, *SETTINGS]
        assert cli.main(command) == 0
    here, there = (find_checkpoint(tmp_path / workers) for workers in ("0", "2"))
    for path in here.iterdir():
        assert path.read_bytes() == (there / path.name).read_bytes(), path.name
