"""`wmkit sample --offload --precision --memory --vae --text`: the same bytes or near ones, and one line where not."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch import nn

from tests.component_doubles import tiny_gemma, tiny_module, tiny_tokenizer
from tests.integration.test_train_sample import call, frames_of
from tests.sample_doubles import random_run
from wmkit.errors import InputError
from wmkit.model.placement import Placement
from wmkit.sample import SampleOptions
from wmkit.sample.fit import _working_bytes, bytes_needed, check_fit
from wmkit.sample.parts import load_parts
from wmkit.train.estimate import USABLE

GIB = 2**30
WAYS = (
    Placement(),
    Placement(precision="bfloat16"),
    Placement(offload="model"),
    Placement(offload="blocks"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_run(tmp_path_factory.mktemp("run"))


def asked(run: Path, out: Path, *flags: object) -> tuple[object, ...]:
    return ("sample", "--checkpoint", run, "--trajectory", "w-12", "--steps", 2, "--prompt", "a room", "--out", out,
            *flags)  # fmt: skip


def test_offloading_changes_no_byte_and_rounding_few(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = {"none": (), "model": ("--offload", "model"), "blocks": ("--offload", "blocks", "--memory", 1)}
    for sampler in ("euler", "stream"):
        for name, flags in ways.items():
            out = tmp_path / f"{sampler}-{name}.mp4"
            assert call(capsys, *asked(run, out, "--sampler", sampler, *flags))[0] == 0
            for end in (".mp4", ".json"):
                plain = (tmp_path / f"{sampler}-none.mp4").with_suffix(end)
                assert out.with_suffix(end).read_bytes() == plain.read_bytes(), name
    half = tmp_path / "half.mp4"
    code, told, _ = call(capsys, *asked(run, half, "--sampler", "euler", "--precision", "bfloat16"))
    assert code == 0
    assert (told["record"]["options"]["precision"], told["record"]["device"]) == ("bfloat16", "cpu")
    off = np.abs(frames_of(half).astype(int) - frames_of(tmp_path / "euler-none.mp4"))
    assert half.read_bytes() != (tmp_path / "euler-none.mp4").read_bytes()
    # Two steps of a velocity that is 1.5 % off at most (test_placement) on a scale of 255 / 2 a unit: 4 levels.
    assert off.mean() < 4
    assert call(capsys, "sample", "--repeat", tmp_path / "half.json", "--out", tmp_path / "again.mp4")[0] == 0
    assert (tmp_path / "again.mp4").read_bytes() == half.read_bytes()


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--precision", "fp8"], "expected --device cuda and --offload none"),
        (["--device", "cuda"], "expected a GPU that torch can use, found none"),
        (["--memory", "0"], "--memory: expected a positive number"),
        (["--memory", "0.0000001"], "no offload or precision would do with less than"),
        (["--vae", "ltx2=nowhere"], "the checkpoint's latents are pixel-unshuffle's"),
        (["--text", "gemma-2=nowhere"], "the checkpoint was trained with hashed words"),
        (["--offload", "some"], "some"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Path, tmp_path: Path, flags: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told, err = call(capsys, *asked(run, tmp_path / "x.mp4", *flags))
    assert (code, told) == (2, {})
    assert word in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_refusal_counts_right_and_names_what_would_do(run: Path) -> None:
    options = SampleOptions(checkpoint=run)
    parts = load_parts(options)
    blocks = [sum(own.numel() for own in block.parameters()) for block in parts.model.blocks]
    whole = sum(own.numel() for own in parts.model.parameters())
    products = sum(
        own.numel()
        for part in parts.model.blocks.modules()
        if isinstance(part, nn.Linear | nn.Conv2d)
        for own in part.parameters(recurse=False)
    )
    extra = sum(own.numel() * own.element_size() for own in parts.model.buffers())
    work = (10**6, 3 * 10**6)
    needed = {place: bytes_needed(parts, work, place) for place in WAYS}
    assert needed[Placement()] == 4 * whole + extra + max(work)
    assert needed[Placement(precision="bfloat16")] == 4 * whole - 2 * products + extra + max(work)
    assert needed[Placement(offload="model")] == max(4 * whole + extra + work[0], work[1])
    least = 4 * (whole - sum(blocks) + max(blocks)) + extra + work[0]
    assert needed[Placement(offload="blocks")] == max(least, work[1])

    def limit(place: Placement, factor: float) -> None:
        sized = replace(options, memory_gib=factor * bytes_found(place) / USABLE / GIB)
        check_fit(parts, 5, "euler", sized)

    def bytes_found(place: Placement) -> int:
        return bytes_needed(parts, _working_bytes(parts, 5, "euler", options), place)

    limit(Placement(), 1.001)
    with pytest.raises(InputError, match="--offload blocks --precision float32 would fit"):
        limit(Placement(offload="blocks"), 1.001)
    with pytest.raises(InputError, match="try --sampler stream"):
        limit(Placement(offload="blocks", precision="bfloat16"), 0.999)


def test_other_makers_vae_and_text_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint of LTX-2's latents and Gemma's states, neither of which it holds."""
    settings = ("data.vae=ltx2", "condition.encoder=gemma-2", "model.latent_channels=16", "model.latent_stride=8",
                "model.latent_downscale=32", "data.width=64", "data.height=32", "data.frames=9",
                'model.text={"channels": 32, "tokens": 8}')  # fmt: skip
    run = random_run(tmp_path / "run", *settings)
    tiny_module("ltx2").save_pretrained(tmp_path / "vae")
    tokenizer = tiny_tokenizer()
    tiny_gemma(len(tokenizer)).save_pretrained(tmp_path / "text")
    tokenizer.save_pretrained(tmp_path / "text")
    vae, text = ("--vae", f"ltx2={tmp_path / 'vae'}"), ("--text", f"gemma-2={tmp_path / 'text'}")
    for flags, word in (
        ((), "--vae: expected ltx2=FOLDER"),
        (vae, "--text: expected gemma-2=FOLDER"),
        (("--vae", f"wan={tmp_path / 'vae'}"), "expected ltx2=FOLDER"),
        (("--vae", "ltx2=nowhere", *text), "nowhere"),
    ):
        code, _, err = call(capsys, *asked(run, tmp_path / "x.mp4", *flags))
        assert (code, word in err.splitlines()[-1]) == (2, True), err
    made = {}
    for name, flags in {"plain": (), "offloaded": ("--offload", "blocks", "--memory", 1)}.items():
        code, told, _ = call(capsys, *asked(run, tmp_path / f"{name}.mp4", *vae, *text, *flags))
        assert code == 0
        made[name] = (tmp_path / f"{name}.mp4").read_bytes()
    assert made["plain"] == made["offloaded"]
    assert frames_of(tmp_path / "plain.mp4").shape == (17, 32, 64, 3)
    assert len(told["record"]["vae"]["sha256"]) == len(told["record"]["text"]["sha256"]) == 64
    assert call(capsys, "sample", "--repeat", tmp_path / "plain.json", "--out", tmp_path / "again.mp4")[0] == 0
    (tmp_path / "vae" / "config.json").write_text("{}")
    code, _, err = call(capsys, "sample", "--repeat", tmp_path / "plain.json", "--out", tmp_path / "again.mp4")
    assert (code, "--vae" in err.splitlines()[-1]) == (2, True)


def test_a_cut_path_cuts_its_intrinsics_and_both_files_count(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ended in a traceback: fewer frames than rows. And a changed file of intrinsics was taken for the same."""
    rows = np.tile([60.0, 60.0, 32.0, 24.0], (13, 1))
    np.save(tmp_path / "rows.npy", rows)
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((48, 64, 3), 90, dtype=np.uint8))
    flags = ("--image", tmp_path / "grey.png", "--intrinsics", tmp_path / "rows.npy", "--seconds", 0.5)
    out = tmp_path / "cut.mp4"
    code, told, _ = call(capsys, *asked(run, out, *flags))
    assert code == 0
    assert (told["record"]["trajectory"]["frames"], told["record"]["trajectory"]["cut"]) == (9, 4)
    with np.load(tmp_path / "cut.trajectory.npz") as written:
        assert written["intrinsics"].shape == (9, 4)
    assert call(capsys, "sample", "--repeat", tmp_path / "cut.json", "--out", tmp_path / "again.mp4")[0] == 0
    assert (tmp_path / "again.mp4").read_bytes() == out.read_bytes()
    np.save(tmp_path / "rows.npy", rows + 1)
    code, _, err = call(capsys, "sample", "--repeat", tmp_path / "cut.json", "--out", tmp_path / "again.mp4")
    assert (code, "--intrinsics" in err.splitlines()[-1]) == (2, True)
