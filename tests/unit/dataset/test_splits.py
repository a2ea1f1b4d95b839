"""Splits without leakage, frames of one size with their cameras, captions: what build-shards can put in a sample."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.shard_samples import CONFIG, annotate_exactly, make_clip, make_corpus, record
from wmkit import cli
from wmkit.annotate.pipeline import config_dict, config_hash
from wmkit.caption import Caption
from wmkit.corpus import Corpus, SourceRow
from wmkit.dataset.decode import decode_frames, load_array
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.plan import Candidate
from wmkit.dataset.repair import repair_shards
from wmkit.dataset.schema import open_shards, read_part
from wmkit.dataset.splits import splits_of
from wmkit.dataset.verify import verify_shards
from wmkit.dataset.writer import BuildOptions, build_shards
from wmkit.errors import InputError
from wmkit.video import discover, identify, open_source
from wmkit.video.reference import with_span


def candidate(number: int, *places: tuple[str, str]) -> Candidate:
    """A clip whose (path, content)s are these."""
    clip_id = f"{number:032x}"
    rows = [SourceRow(path=p, name=p, size_bytes=1, mtime_ns=1, content_hash=c, clip_id=clip_id) for p, c in places]
    return Candidate(clip_id=clip_id, name=places[0][0], sources=tuple(rows))


def test_parts_and_copies_of_a_file_and_joined_folders_stay_together() -> None:
    """300 files of three parts each, some of them copied into a second folder, at random."""
    rng = random.Random(0)
    clips: list[Candidate] = []
    for number in range(300):
        folders = [f"/d{rng.randrange(60)}"] + ([f"/d{rng.randrange(60)}"] if rng.random() < 0.1 else [])
        for part in range(3):
            span = (part * 10.0, part * 10.0 + 10)
            places = [(with_span(f"{folder}/{number}.mp4", span), f"content{number}") for folder in folders]
            clips.append(candidate(3 * number + part, *places))
    for by in ("source", "folder"):
        found = splits_of(clips, "train", 0.2, by)  # type: ignore[arg-type]
        sides: dict[str, set[str]] = {}
        for clip in clips:
            for row in clip.sources:
                sides.setdefault(row.content_hash or "", set()).add(found[clip.clip_id])
                if by == "folder":
                    sides.setdefault(row.path.rpartition("/")[0], set()).add(found[clip.clip_id])
        assert all(len(side) == 1 for side in sides.values())
        assert set(found.values()) == {"train", "val"}
        assert found == splits_of(rng.sample(clips, len(clips)), "train", 0.2, by), "order is nothing"  # type: ignore[arg-type]
    share = sum(word == "val" for word in splits_of(clips, "train", 0.2, "source").values()) / len(clips)
    assert share == pytest.approx(0.2, abs=0.07)  # 3 sigma of 300 files: sqrt(0.2 * 0.8 / 300) = 0.023


def test_a_corpus_that_grows_moves_no_clip() -> None:
    clips = [candidate(number, (f"/d/{number}.mp4", f"c{number}")) for number in range(200)]
    before = splits_of(clips[:100], "train", 0.3, "source")
    after = splits_of(clips, "train", 0.3, "source")
    assert before.items() <= after.items()


def test_a_build_with_val_is_whole_repairable_and_drawn_from_by_name(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, clips=6, frames=6)
    options = BuildOptions(val_share=0.4, shard_bytes=40_000)
    summary = build_shards(corpus, tmp_path / "shards", options)
    assert summary.samples == 6
    assert verify_shards(tmp_path / "shards").damage == ()
    folder = open_shards(tmp_path / "shards")
    keys = {split: {s.key for s in folder.samples if s.split == split} for split in ("train", "val")}
    assert all(keys.values())
    config = LoaderConfig(frames=2, height=16, width=16, batch_size=6, steps=2)
    for split, wanted in ((None, "train"), ("train", "train"), ("val", "val")):
        batches = list(StreamingShards(tmp_path / "shards", replace(config, split=split)))
        assert {key for batch in batches for key in batch.keys} == keys[wanted]
    with pytest.raises(InputError, match="expected samples of split test, got train, val"):
        StreamingShards(tmp_path / "shards", replace(config, split="test"))
    assert build_shards(corpus, tmp_path / "shards", options).unchanged
    victim = tmp_path / "shards" / "val-000000.tar"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1000])
    assert repair_shards(tmp_path / "shards", corpus).damage == ()
    assert victim.read_bytes() == whole
    with pytest.raises(InputError, match="same corpus and options"):
        build_shards(corpus, tmp_path / "shards")


@pytest.mark.parametrize("size", [(24, 64), (48, 32), (60, 80)])
def test_a_size_is_covered_and_cameras_follow(size: tuple[int, int], tmp_path: Path) -> None:
    """What a camera sees at a point of the frame is what it saw before, there where crop_px says."""
    corpus = make_corpus(tmp_path, clips=1, frames=4)
    build_shards(corpus, tmp_path / "plain")
    build_shards(corpus, tmp_path / "sized", BuildOptions(size=size))
    assert verify_shards(tmp_path / "sized", full=True).damage == ()
    (plain,), (sized,) = (open_shards(tmp_path / name).samples for name in ("plain", "sized"))
    assert (sized.height, sized.width) == size
    before = load_array(tmp_path / "plain", plain, "intrinsics.npy", (4, 4))
    after = load_array(tmp_path / "sized", sized, "intrinsics.npy", (4, 4))
    left, top, right, bottom = json.loads(read_part(tmp_path / "sized", sized, "json"))["frames"]["crop_px"]
    scale = np.array([size[1] / (right - left), size[0] / (bottom - top)])
    assert max(size[0] / 48, size[1] / 64) == pytest.approx(scale[0], rel=0.02)  # whole px
    np.testing.assert_allclose(after[:, :2], before[:, :2] * scale)
    np.testing.assert_allclose(after[:, 2:], (before[:, 2:] - [left, top]) * scale)
    pictures = decode_frames(tmp_path / "sized", sized, 0, 4)
    assert pictures.shape == (4, *size, 3)
    # Frame k is brighter than frame k - 1, whatever its size.
    assert (np.diff(pictures.mean(axis=(1, 2, 3))) > 5).all()
    assert repair_after_damage(tmp_path / "sized", corpus)


def repair_after_damage(shards: Path, corpus: Path) -> bool:
    """Whether a shard that was cut has its bytes again."""
    victim = next(shards.glob("*.tar"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:2000])
    return not repair_shards(shards, corpus).damage and victim.read_bytes() == whole


def test_captions_are_members_of_the_samples_that_have_one(tmp_path: Path) -> None:
    store = Corpus.create_or_open(tmp_path / "corpus", config_dict(CONFIG), config_hash(CONFIG), update=False)  # type: ignore[arg-type]
    for number in range(2):
        make_clip(tmp_path / "clips" / f"{number}.mp4", number, frames=4)
    for number, found in enumerate(discover([tmp_path / "clips"]).clips):
        file = identify(found)
        annotation = annotate_exactly(open_source(file, CONFIG.video), file, metric=False)
        if number:
            annotation = replace(annotation, caption=Caption.of("Ein Hof in Köln.", "test"))
        record(store, annotation, file)
    build_shards(store.path, tmp_path / "shards")
    samples = open_shards(tmp_path / "shards").samples
    parts = {sample.key: [part.name for part in sample.parts] for sample in samples}
    assert sorted(map(len, parts.values())) == [4, 5]
    (with_text,) = [sample for sample in samples if len(sample.parts) == 5]
    assert read_part(tmp_path / "shards", with_text, "txt").decode() == "Ein Hof in Köln."
    assert verify_shards(tmp_path / "shards").damage == ()


def test_the_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = make_corpus(tmp_path, clips=2, frames=4)
    out = ["--out", str(tmp_path / "shards")]
    flags = ["--size", "24x32", "--max-shard-size", "1KiB", "--val", "0.5"]
    assert cli.main(["build-shards", str(corpus), *out, *flags]) == 0
    folder = open_shards(tmp_path / "shards")
    assert len(folder.shards) == 2
    assert {(sample.height, sample.width) for sample in folder.samples} == {(24, 32)}
    capsys.readouterr()
    for flags, told in (
        (["--size", "24"], "--size: expected HEIGHTxWIDTH in px as in 704x1280, got '24'"),
        (["--size", "25x32"], "--size: expected even HEIGHTxWIDTH"),
        (["--size", "24x32", "--video", "copy"], "--size and --video copy: expected one of the two"),
        (["--max-shard-size", "much"], "--max-shard-size: expected bytes"),
        (["--max-shard-size", "0"], "--max-shard-size: expected at least 1 byte"),
        (["--val", "1"], "--val: expected a share of the sources in [0, 1)"),
    ):
        assert cli.main(["build-shards", str(corpus), *flags]) == 2
        assert told in capsys.readouterr().err
