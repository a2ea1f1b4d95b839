"""Latents and text states in shards: those of the frames they say, the same bytes whoever makes them, and mended."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load

from tests.component_doubles import tiny_gemma, tiny_module, tiny_tokenizer
from tests.http_folder import http_folder
from tests.precompute_doubles import captioned_shards, in_this_process
from tests.shard_samples import make_shards
from wmkit.dataset.decode import as_video, decode_frames, fit_frames
from wmkit.dataset.latents import LATENT, TEXT, LatentFacts, covers, precomputed, read_text, windows_of
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.repair import repair_shards
from wmkit.dataset.schema import Sample, open_shards, read_part
from wmkit.dataset.verify import verify_shards
from wmkit.dataset.writer import BuildOptions, build_shards
from wmkit.errors import ConfigError, InputError
from wmkit.executor import ExecutorOptions
from wmkit.model.latent import PixelUnshuffle
from wmkit.model.text import HashedText
from wmkit.train import precompute_shard
from wmkit.train.encoders import CodecChoice, TextChoice
from wmkit.train.precompute import PrecomputeOptions, precompute

torch.set_num_threads(1)
CODEC = PixelUnshuffle(stride=2, downscale=4)
OPTIONS = PrecomputeOptions(
    vae=CodecChoice.parse("pixel-unshuffle=2x4"),
    text=TextChoice.parse("hashed=8x4"),
    frames=9,
    hop=3,
    size=(24, 32),
    precision="float32",
    executor=ExecutorOptions(kind="local", workers=1),
)
LOADER = LoaderConfig(frames=9, height=24, width=32, batch_size=3, seed=3, picture="both", texts=True)
FIRST, SECOND = "train-000000.tar", "train-000001.tar"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captioned_shards(tmp_path_factory.mktemp("precompute"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without processes: `tests/integration/test_precompute.py` has them."""
    monkeypatch.setattr("wmkit.train.precompute.run_items", in_this_process)
    yield
    precompute_shard._opened.cache_clear()
    precompute_shard._loaded.cache_clear()


@pytest.fixture
def made(source: Path, tmp_path: Path) -> Path:
    summary = precompute(source, tmp_path / "latents", OPTIONS)
    assert (summary.exit_code, summary.made, summary.kept) == (0, 2, 0)
    return tmp_path / "latents"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def window_video(folder: Path, sample: Sample, start: int, frames: int, stride: int = 1) -> torch.Tensor:
    rgb = decode_frames(folder, sample, start, frames, stride)
    return torch.from_numpy(as_video(fit_frames(rgb, np.zeros((0, 4)), 32, 24)[0]))[None]


def facts(**changes: Any) -> LatentFacts:
    base = LatentFacts(
        codec="pixel-unshuffle", channels=96, stride=2, downscale=4, licence="none", weights="", height=24, width=32
    )
    return replace(base, **changes)


# ---- windows ----


@pytest.mark.parametrize("frame_stride", [1, 2, 3])
@pytest.mark.parametrize(("frames", "hop"), [(5, None), (5, 1), (3, 4), (None, None)])
def test_windows_are_posed_apart_and_where_one_fits(frames: int | None, hop: int | None, frame_stride: int) -> None:
    """Held against a search through every place, on 60 draws of which frames are posed."""
    own = facts(frames=frames, hop=hop, frame_stride=frame_stride)
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.7, 0.9, 1.0) * 12:
        posed = rng.random(rng.integers(1, 40)) < share

        def fits(start: int, count: int, posed: np.ndarray = posed) -> bool:
            places = start + np.arange(count) * frame_stride
            return bool(places[-1] < len(posed) and posed[places].all())

        if frames is None:
            longest = max((n for n in range(3, 41, 2) for s in range(len(posed)) if fits(s, n)), default=0)
            wanted = [(s, longest) for s in range(len(posed)) if longest and fits(s, longest)][:1]
        else:
            wanted, free = [], 0
            for start in range(len(posed)):
                if start >= free and fits(start, frames):
                    wanted.append((start, frames))
                    free = start + (frames * frame_stride if hop is None else hop)
        assert [tuple(window) for window in windows_of(posed, own)] == wanted


def test_a_latent_frame_covers_the_frames_it_is_made_of() -> None:
    """Frames whose every pixel is their own number: pixel-unshuffle latents hold what they were made of."""
    own = facts(frames=5, hop=4, frame_stride=2)
    posed = np.ones(16, dtype=bool)
    windows = windows_of(posed, own)
    table = covers(windows, own)
    assert table.shape == (2, 3, 2)
    for window, rows in zip(windows, table, strict=True):
        numbers = window.start + 2 * torch.arange(5)
        latent = CODEC.encode(numbers.float()[None, :, None, None, None].expand(1, 5, 3, 24, 32))
        for frame, (first, last) in zip(latent[0], rows.tolist(), strict=True):
            assert frame.unique().tolist() == list(range(first, last + 1, 2))


@pytest.mark.parametrize(
    ("change", "word"),
    [({"frames": 8}, "--frames"), ({"frames": 1}, "--frames"), ({"height": 22}, "--size"), ({"hop": 0}, "--hop")],
)
def test_facts_check_themselves(change: dict[str, int], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        facts(**change)


# ---- the folder ----


def test_samples_keep_their_parts_and_gain_two(source: Path, made: Path) -> None:
    before, after = open_shards(source), open_shards(made)
    assert verify_shards(made, full=True).damage == ()
    assert [sample.key for sample in after.samples] == [sample.key for sample in before.samples]
    assert [shard.samples for shard in after.shards] == [shard.samples for shard in before.shards]
    for old, new in zip(before.samples, after.samples, strict=True):
        for part in old.parts:
            assert read_part(made, new, part.name) == read_part(source, old, part.name)
        assert {part.name for part in new.parts} - {part.name for part in old.parts} == {LATENT, TEXT}
        tensors = load(read_part(made, new, LATENT))
        assert tensors["latent"].shape == (4, 5, 96, 6, 8)
        assert tensors["covers"][:, 0, 0].tolist() == [4, 7, 10, 13]
        for window, start in enumerate((4, 7, 10, 13)):
            wanted = CODEC.encode(window_video(source, old, start, 9))
            np.testing.assert_array_equal(tensors["latent"][window], wanted[0].numpy())
    assert (made / "dropped.jsonl").read_bytes() == (source / "dropped.jsonl").read_bytes()
    assert sorted(path.name for path in made.iterdir() if path.name.startswith(".")) == []
    for name in ("corpus_hash", "thresholds", "options", "clips", "frames", "split"):
        assert after.head[name] == before.head[name]
    assert after.head["precomputed"]["latents"]["codec"] == "pixel-unshuffle"
    assert LATENT in after.head["conventions"]
    assert "metre" in after.head["conventions"]["translation"]


def test_a_part_says_by_itself_what_it_is(made: Path, tmp_path: Path) -> None:
    sample = open_shards(made).samples[0]
    (tmp_path / "part").write_bytes(read_part(made, sample, LATENT))
    with safe_open(tmp_path / "part", "np") as file:
        told = json.loads(file.metadata()["wmkit"])
    assert told.items() >= {"codec": "pixel-unshuffle", "stride": 2, "frame_stride": 1, "fps": "16"}.items()
    assert told.items() >= {"height": 24, "width": 32, "licence": "none: no weights", "weights": ""}.items()


def test_half_the_bytes_are_half_as_exact(source: Path, made: Path, tmp_path: Path) -> None:
    precompute(source, tmp_path / "half", replace(OPTIONS, precision="float16"))
    exact, half = open_shards(made), open_shards(tmp_path / "half")
    for one, other in zip(exact.samples, half.samples, strict=True):
        wide = load(read_part(made, one, LATENT))["latent"]
        narrow = load(read_part(tmp_path / "half", other, LATENT))["latent"]
        assert narrow.dtype == np.float16
        # 11 bits of values of at most 1: half a unit in the last place of [0.5, 1]
        np.testing.assert_allclose(narrow.astype(np.float32), wide, rtol=0, atol=2.0**-12)


def test_captions_are_encoded_with_what_none_is(made: Path) -> None:
    folder = open_shards(made)
    known = precomputed(folder.head)
    assert known is not None
    assert known.texts is not None
    encoder, captions = HashedText(channels=8, tokens=4), []
    for sample in folder.samples:
        caption = json.loads(read_part(made, sample, "json"))["caption"] or ""
        captions.append(caption)
        wanted, rows = encoder.encode([caption, ""]), read_text(made, sample, known.texts)
        for row, states, mask in ((0, rows.states, rows.mask), (1, rows.empty_states, rows.empty_mask)):
            np.testing.assert_array_equal(states, wanted.states[row].numpy())
            np.testing.assert_array_equal(mask, wanted.mask[row].numpy())
    assert sorted(captions) == ["", "a wall of 1 soft blocks", "a wall of 2 soft blocks"]


def test_what_is_there_whole_stays(source: Path, made: Path) -> None:
    before = contents(made)
    inodes = {path.name: path.stat().st_ino for path in made.iterdir()}
    summary = precompute(source, made, OPTIONS)
    assert (summary.made, summary.kept) == (0, 2)
    assert contents(made) == before
    assert {path.name: path.stat().st_ino for path in made.iterdir()} == inodes


@pytest.mark.parametrize("damage", ["cut", "alter", "remove"])
def test_damage_is_named_and_mended_alone(damage: str, source: Path, made: Path) -> None:
    before, second = contents(made), (made / SECOND).stat().st_ino
    data, place = before[FIRST], open_shards(made).samples[0].part(LATENT).offset + 900
    if damage == "remove":
        (made / FIRST).unlink()
    else:
        cut = data[:-700] if damage == "cut" else data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        (made / FIRST).write_bytes(cut)
    assert {entry.file for entry in verify_shards(made).damage} == {FIRST}
    report = repair_shards(made, source.parent / "corpus")
    assert report.exit_code == 1
    assert "wmkit precompute" in report.damage[0].what
    summary = precompute(source, made, OPTIONS)
    assert (summary.made, summary.kept) == (1, 1)
    assert contents(made) == before
    assert (made / SECOND).stat().st_ino == second


def test_a_damaged_index_is_repaired_without_a_model(source: Path, made: Path) -> None:
    before = contents(made)
    (made / "index.parquet").write_bytes(before["index.parquet"][:-3])
    with pytest.raises(InputError, match="run wmkit repair"):
        precompute(source, made, OPTIONS)
    assert repair_shards(made, source).repaired == ("index.parquet",)
    assert contents(made) == before


@pytest.mark.parametrize("change", [{"frames": 7}, {"hop": 5}, {"channels": 24}, {"precision": "float16"}])
def test_latents_of_other_facts_are_damage(change: dict[str, Any], made: Path) -> None:
    head = json.loads((made / "shards.json").read_bytes())
    head["precomputed"]["latents"] |= change
    (made / "shards.json").write_text(json.dumps(head))
    report = verify_shards(made)
    assert len(report.damage) == 3
    assert all(LATENT in entry.what for entry in report.damage)


def test_other_options_and_folders_are_refused(source: Path, made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another precomputed"):
        precompute(source, made, replace(OPTIONS, hop=4))
    with pytest.raises(InputError, match="another precomputed"):
        build_shards(source.parent / "corpus", made, BuildOptions(shard_bytes=40_000))
    with pytest.raises(InputError, match="another precomputed"):
        precompute(source, shutil.copytree(source, tmp_path / "plain"), OPTIONS)
    with pytest.raises(InputError, match="without latents"):
        precompute(made, tmp_path / "again", OPTIONS)
    with pytest.raises(InputError, match="another folder"):
        precompute(source, source, OPTIONS)
    with pytest.raises(InputError, match="or one in it"):
        precompute(source, source / "latents", OPTIONS)
    assert not (source / "latents").exists()


@pytest.mark.parametrize(("device", "word"), [("abc", "cuda:NUMBER, got 'abc'"), ("cuda", "use --device cpu")])
def test_a_device_that_is_none_is_said_before_any_work(device: str, word: str, source: Path, tmp_path: Path) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    alone = ExecutorOptions(kind="local", workers=1)
    with pytest.raises(InputError, match=word):
        precompute(source, tmp_path / "out", replace(OPTIONS, device=device, executor=alone))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("change", "flag"), [({"frame_stride": 0}, "--stride"), ({"hop": 0}, "--hop")])
def test_a_count_of_none_names_its_flag(change: dict[str, Any], flag: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{flag}: expected at least 1, got 0$"):
        precompute(source, tmp_path / "out", replace(OPTIONS, **change))


def test_an_output_that_cannot_be_made_says_what_to_do(source: Path) -> None:
    with pytest.raises(InputError, match=r"can be written, got .*; pass another --out$"):
        precompute(source, Path("/proc/no/folder"), OPTIONS)


def test_sizes_and_lengths_that_do_not_fit_are_one_line(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--size: expected sides that divide by 4 px"):
        precompute(source, tmp_path / "a", replace(OPTIONS, size=(22, 32)))
    with pytest.raises(InputError, match="sample with 21 posed frames"):
        precompute(source, tmp_path / "a", replace(OPTIONS, frames=21))
    other = make_shards(tmp_path / "small", clips=1, frames=6, size=(32, 32))
    assert precompute(other, tmp_path / "b", replace(OPTIONS, size=None, frames=None)).frames == 5
    for text in ("ltx", "ltx2", "pixel-unshuffle=4", "pixel-unshuffle=0x8"):
        with pytest.raises(InputError, match="--vae"):
            CodecChoice.parse(text)
    for text in ("gemma-2", "hashed=8", "bert"):
        with pytest.raises(InputError, match="--text"):
            TextChoice.parse(text)


def test_a_damaged_source_is_told_and_seals_nothing(source: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(source, tmp_path / "broken")
    place = open_shards(broken).samples[0].part("mp4").offset + 100
    data = (broken / FIRST).read_bytes()
    (broken / FIRST).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    summary = precompute(broken, tmp_path / "out", OPTIONS)
    assert (summary.exit_code, summary.made, list(summary.failed)) == (1, 1, [FIRST])
    assert "expected .mp4 as it was written" in summary.failed[FIRST]
    assert not (tmp_path / "out" / "shards.json").exists()
    (broken / FIRST).write_bytes(data)
    precompute_shard._opened.cache_clear()
    shutil.copytree(tmp_path / "out", tmp_path / "other")
    assert precompute(broken, tmp_path / "out", OPTIONS).kept == 1
    assert verify_shards(tmp_path / "out").damage == ()
    # What another addition left unfinished is not trusted.
    assert precompute(broken, tmp_path / "other", replace(OPTIONS, hop=1)).kept == 0
    assert verify_shards(tmp_path / "other").damage == ()


# ---- the loader ----


def test_latents_of_a_crop_are_those_of_its_frames(source: Path, made: Path) -> None:
    loader, starts = StreamingShards(made, LOADER), set()
    assert loader.skipped == {"too_short": 0, "unposed": 0}
    for batch in (loader.replay(step) for step in range(8)):
        assert batch.latent is not None
        assert torch.equal(batch.latent, CODEC.encode(batch.video))
        for key, video in zip(batch.keys, batch.video, strict=True):
            sample = next(sample for sample in open_shards(source).samples if sample.key == key)
            starts |= {
                start for start in (4, 7, 10, 13) if torch.equal(window_video(source, sample, start, 9)[0], video)
            }
    assert starts == {4, 7, 10, 13}


def test_without_frames_the_rest_is_the_same(made: Path) -> None:
    both = StreamingShards(made, LOADER).replay(1)
    alone = StreamingShards(made, replace(LOADER, picture="latent")).replay(1)
    assert alone.video.shape == (3, 0, 3, 24, 32)
    assert both.latent is not None
    assert alone.latent is not None
    assert alone.text is not None
    assert torch.equal(alone.latent, both.latent)
    assert torch.equal(alone.world_from_cam, both.world_from_cam)
    assert torch.equal(alone.intrinsics, both.intrinsics)
    assert alone.text.states.shape == (3, 4, 8)
    plain = StreamingShards(made, replace(LOADER, picture="video")).replay(1)
    assert (plain.latent, plain.keys) == (None, both.keys)


def test_a_shorter_crop_is_the_beginning_of_a_window(made: Path) -> None:
    loader = StreamingShards(made, replace(LOADER, frames=5))
    batch = loader.replay(0)
    assert batch.latent is not None
    assert batch.latent.shape == (3, 3, 96, 6, 8)
    assert torch.equal(batch.latent, CODEC.encode(batch.video))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"height": 48}, "expected latents of 48x32 px"),
        ({"stride": 2}, "every 2th frame"),
        ({"frames": 8}, r"1 \+ 2 k"),
        ({"frames": 11}, "in a window that was encoded"),
        ({"picture": "latents"}, "loader picture"),
    ],
)
def test_what_was_not_encoded_is_refused(change: dict[str, Any], word: str, made: Path) -> None:
    with pytest.raises(InputError, match=word):
        StreamingShards(made, replace(LOADER, **change))


def test_plain_shards_have_none(source: Path) -> None:
    with pytest.raises(InputError, match="run wmkit precompute"):
        StreamingShards(source, LOADER)


def test_every_second_frame(source: Path, tmp_path: Path) -> None:
    precompute(source, tmp_path / "latents", replace(OPTIONS, frame_stride=2, frames=5))
    batch = StreamingShards(tmp_path / "latents", replace(LOADER, frames=5, stride=2)).replay(0)
    assert batch.latent is not None
    assert torch.equal(batch.latent, CODEC.encode(batch.video))


def test_shards_behind_a_url_are_precomputed_and_read(
    source: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WMKIT_CACHE", str(tmp_path / "cache"))
    with http_folder(source) as served:
        precompute(served.url, tmp_path / "far", OPTIONS)
    (made / "dropped.jsonl").unlink()  # which is not fetched
    assert contents(tmp_path / "far") == contents(made)
    with http_folder(made) as served:
        here, there = (StreamingShards(place, LOADER).replay(2) for place in (made, served.url))
    assert here.keys == there.keys
    assert here.latent is not None
    assert there.latent is not None
    assert torch.equal(here.latent, there.latent)


# ---- the real classes ----


@pytest.mark.parametrize(
    ("kind", "frames", "size"), [("ltx2", 17, (64, 32)), ("wan", 9, (16, 24)), ("dc-ae", 4, (16, 24))]
)
def test_real_vaes(kind: Any, frames: int, size: tuple[int, int], source: Path, tmp_path: Path) -> None:
    """A window is what the VAE says of its frames alone, and its beginning what it says of those."""
    tiny_module(kind).save_pretrained(tmp_path / "vae")
    choice = CodecChoice.parse(f"{kind}={tmp_path}")
    options = replace(OPTIONS, vae=choice, text=None, frames=frames, hop=None, size=size)
    summary = precompute(source, tmp_path / "out", options)
    assert summary.exit_code == 0, summary.failed
    made = precomputed(open_shards(tmp_path / "out").head)
    assert made is not None
    assert len(made.latents.weights) == 64
    assert verify_shards(tmp_path / "out", full=True).damage == ()
    codec = choice.load("cpu")
    config = replace(LOADER, frames=frames, height=size[0], width=size[1], texts=False, batch_size=1)
    shorter = replace(config, frames=frames - max(made.latents.stride, 1))
    for asked in (config, shorter):
        batch = StreamingShards(tmp_path / "out", asked).replay(0)
        assert batch.latent is not None
        wanted = codec.normalise(codec.encode(batch.video))
        # float32 on one thread: a shorter video may be summed in another order.
        torch.testing.assert_close(batch.latent, wanted, rtol=1e-4, atol=1e-5)


def test_gemma(source: Path, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tiny_gemma(len(tokenizer)).save_pretrained(tmp_path / "gemma")
    tokenizer.save_pretrained(tmp_path / "gemma")
    choice = TextChoice.parse(f"gemma-2={tmp_path / 'gemma'}")
    precompute(source, tmp_path / "out", replace(OPTIONS, text=choice))
    folder = open_shards(tmp_path / "out")
    made = precomputed(folder.head)
    assert made is not None
    assert made.texts is not None
    assert (made.texts.encoder, made.texts.tokens, made.texts.channels) == ("gemma-2", 300, 32)
    encoder = choice.load("cpu")
    for sample in folder.samples:
        caption = json.loads(read_part(tmp_path / "out", sample, "json"))["caption"] or ""
        wanted, rows = encoder.encode([caption]), read_text(tmp_path / "out", sample, made.texts)
        np.testing.assert_array_equal(rows.mask, wanted.mask[0].numpy())
        # float32: a batch of two is summed in another order than one.
        np.testing.assert_allclose(
            rows.states[rows.mask], wanted.states[0][wanted.mask[0]].numpy(), rtol=1e-4, atol=1e-5
        )
