"""Latent codecs and text encoders: tiny random instances of the real classes, from folders, without a network."""

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.pipelines.sana_wm.pipeline_sana_wm import DEFAULT_CHI_PROMPT, SanaWMPipeline
from transformers import Gemma2ForCausalLM, PreTrainedTokenizerFast

from tests.component_doubles import tiny_gemma, tiny_module, tiny_tokenizer
from wmkit.cli import main
from wmkit.errors import ConfigError, InputError
from wmkit.model import HashedText, PixelUnshuffle
from wmkit.model.components import licence_of, write_components
from wmkit.model.gemma import INSTRUCTION, GemmaText, load_gemma
from wmkit.model.latent import LatentCodec
from wmkit.model.text import TextEncoder
from wmkit.model.vae import VAE_KINDS, DiffusersVae, VaeKind, load_vae

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would reach for the network fails at once instead."""

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"reached for the network: {arguments}")

    monkeypatch.setattr("socket.socket.connect", refuse)


SIZES: dict[VaeKind, tuple[int, int, int]] = {"ltx2": (16, 8, 32), "wan": (4, 4, 8), "dc-ae": (4, 1, 4)}


@pytest.fixture(params=sorted(VAE_KINDS))
def vae(request: pytest.FixtureRequest, tmp_path: Path) -> DiffusersVae:
    """Written as diffusers writes it, and loaded from there."""
    tiny_module(request.param).save_pretrained(tmp_path / "vae")
    told: list[str] = []
    loaded = load_vae(request.param, tmp_path, note=told.append)
    assert len(told) == 1
    assert told[0].startswith(f"{request.param}: ")
    return loaded


def video_of(codec: LatentCodec, latent_frames: int = 2) -> torch.Tensor:
    spec = codec.spec()
    frames = 1 + spec.stride * (latent_frames - 1)
    shape = (2, frames, 3, 2 * spec.downscale, 3 * spec.downscale)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def check_codec(codec: LatentCodec) -> None:
    spec, video = codec.spec(), video_of(codec)
    latent = codec.encode(video)
    assert tuple(latent.shape) == (2, 2, spec.channels, 2, 3)
    assert torch.equal(codec.encode(video), latent), "no random draw"
    back = codec.decode(latent)
    assert back.shape == video.shape
    assert back.isfinite().all()
    # float32 with statistics of about 1.
    torch.testing.assert_close(codec.normalise(codec.normalise(latent), inverse=True), latent, rtol=1e-5, atol=1e-5)
    for bad in (video[:, :1].repeat(1, 2 + spec.stride, 1, 1, 1) if spec.stride > 1 else None, video[..., :-1]):
        if bad is not None:
            with pytest.raises(InputError, match=r"^video: expected"):
                codec.encode(bad)
    with pytest.raises(InputError, match=f"expected {spec.channels} channels"):
        codec.decode(latent[:, :, :-1])
    assert spec.licence


def test_the_real_classes_are_codecs(vae: DiffusersVae) -> None:
    assert isinstance(vae, LatentCodec)
    spec = vae.spec()
    assert (spec.channels, spec.stride, spec.downscale) == SIZES[vae.kind]
    check_codec(vae)


def test_pixels_are_a_codec_too() -> None:
    codec = PixelUnshuffle(downscale=4, stride=2)
    assert isinstance(codec, LatentCodec)
    check_codec(codec)


def test_ltx2_latents_are_the_pipelines(tmp_path: Path) -> None:
    """diffusers' own pipeline normalises the first frame and undoes it before decoding: the same numbers."""
    module = tiny_module("ltx2")
    codec = DiffusersVae(kind="ltx2", module=module, component=licence_of("ltx2", str(tmp_path)))
    frame = video_of(codec, 1)
    pipeline: Any = SimpleNamespace(vae=module, _execution_device="cpu")
    with torch.no_grad():
        want = SanaWMPipeline._encode_first_frame(pipeline, frame[:, 0], torch.device("cpu"), torch.float32)
    latent = codec.normalise(codec.encode(frame))
    torch.testing.assert_close(latent.transpose(1, 2), want)
    with torch.no_grad():
        decoded = SanaWMPipeline._decode_latents(pipeline, want)
    again = codec.decode(codec.normalise(latent, inverse=True))
    torch.testing.assert_close(again.transpose(1, 2), decoded, rtol=1e-4, atol=1e-5)


def test_a_config_that_promises_other_sizes_is_told() -> None:
    module = tiny_module("ltx2", spatial_compression_ratio=None, temporal_compression_ratio=None)
    codec = DiffusersVae(kind="ltx2", module=module, component=licence_of("ltx2", "."))
    with pytest.raises(ConfigError, match=r"its config promises a latent of .* set spatial_compression_ratio"):
        codec.encode(video_of(codec))
    with pytest.raises(ConfigError, match=r"its config promises a video of .* set spatial_compression_ratio"):
        codec.decode(torch.zeros(1, 2, codec.spec().channels, 1, 1))


def test_wan_is_normalised_by_its_config() -> None:
    codec = DiffusersVae(kind="wan", module=tiny_module("wan"), component=licence_of("wan", "."))
    latent = torch.zeros(1, 1, 4, 1, 1)
    assert codec.normalise(latent).flatten().tolist() == [-0.25, 0.5, 0.0, -0.25]
    assert codec.normalise(latent, inverse=True).flatten().tolist() == [0.5, -0.25, 0.0, 1.0]


def test_nothing_is_fetched_unasked(tmp_path: Path) -> None:
    for load in (lambda: load_vae("ltx2", "someone/some-vae"), lambda: load_gemma("someone/some-gemma")):
        with pytest.raises(InputError, match=r"expected someone/some-.* fetch one with wmkit components --download"):
            load()
    with pytest.raises(InputError, match="name a folder"):
        load_vae("wan", tmp_path)


def test_a_folder_without_weights_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny_module("wan").save_pretrained(tmp_path)
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    logger = logging.getLogger("diffusers")
    logger.addHandler(caplog.handler)  # its records go no further than its own handlers
    try:
        with pytest.raises(InputError, match="no file named"):
            load_vae("wan", tmp_path)
    finally:
        logger.removeHandler(caplog.handler)
    assert caplog.messages == [], "diffusers tells what it then raises"


def test_loading_a_folder_opens_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_module("wan").save_pretrained(tmp_path / "vae")
    tokenizer = tiny_tokenizer()
    tiny_gemma(len(tokenizer)).save_pretrained(tmp_path / "text")
    tokenizer.save_pretrained(tmp_path / "text")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert load_vae("wan", tmp_path).kind == "wan"
    assert load_gemma(tmp_path / "text").channels == 32


def test_pickled_weights_are_left_alone(tmp_path: Path) -> None:
    module = tiny_module("wan")
    module.save_pretrained(tmp_path / "vae")
    for file in (tmp_path / "vae").glob("*.safetensors"):
        torch.save(module.state_dict(), file.with_suffix(".bin"))
        file.unlink()
    with pytest.raises(InputError, match=r"wan: expected .* to be a folder of its weights"):
        load_vae("wan", tmp_path)
    tokenizer = tiny_tokenizer()
    language_model = tiny_gemma(len(tokenizer))
    language_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    torch.save(language_model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"gemma-2: expected .* to be a folder of its weights"):
        load_gemma(tmp_path)


@pytest.mark.parametrize("package", ["diffusers", "transformers"])
def test_a_missing_package_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks what cannot be imported
    load: Any = load_vae if package == "diffusers" else lambda kind, source: load_gemma(source)
    with pytest.raises(InputError, match=rf"expected the package {package}, got: .*; run: pip install 'wmkit\[models"):
        load("wan", tmp_path)


@pytest.mark.usefixtures("without_shape_checks")
def test_kinds_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of ltx2, wan, dc-ae"):
        load_vae("vq", tmp_path)  # type: ignore[arg-type]


def test_licences_are_told_and_stored(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text('---\ntags: [a]\nlicense: "ltx-2-community"\n---\n# A card\n')
    by_card, by_table = licence_of("ltx2", str(tmp_path)), licence_of("gemma-2", str(tmp_path / "absent"))
    assert (by_card.licence, by_card.licence_from) == ("ltx-2-community", "model card")
    assert by_table.licence_from == "wmkit's table"
    told: list[str] = []
    write_components(tmp_path / "components.json", [by_card, by_table], told.append)
    assert len(told) == 2
    stored = json.loads((tmp_path / "components.json").read_text())
    assert [row["licence"] for row in stored] == [by_card.licence, by_table.licence]


def test_command_line_tells_stores_and_fetches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_module("wan").save_pretrained(tmp_path / "vae")
    out = tmp_path / "components.json"
    assert main(["components", "--vae", str(tmp_path), "--vae-kind", "wan", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(out.read_text())
    assert [(row["kind"], row["licence"]) for row in told] == [("wan", "Apache-2.0")]
    assert main(["components", "--text", "someone/some-gemma", "--out", str(out)]) == 2
    assert "fetch one with wmkit components --download" in capsys.readouterr().err
    assert main(["components"]) == 2


# ---- text ----


@pytest.fixture
def gemma(tmp_path: Path) -> tuple[GemmaText, Gemma2ForCausalLM, PreTrainedTokenizerFast]:
    tokenizer = tiny_tokenizer()
    language_model = tiny_gemma(len(tokenizer))
    language_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return load_gemma(tmp_path, tokens=12), language_model, tokenizer


TEXTS = ("a red room", "a window", "a red room with two doors and a window and a red room with two doors", "")


@pytest.mark.parametrize("text", TEXTS)
def test_prompts_are_handled_as_the_released_pipeline_does(
    gemma: tuple[GemmaText, Gemma2ForCausalLM, PreTrainedTokenizerFast], text: str
) -> None:
    encoder, language_model, tokenizer = gemma
    pipeline: Any = SimpleNamespace(tokenizer=tokenizer, text_encoder=language_model, _execution_device="cpu")
    with torch.no_grad():
        states, mask, negative, negative_mask = SanaWMPipeline.encode_prompt(
            pipeline, text, "a red", max_sequence_length=12, chi_prompt=DEFAULT_CHI_PROMPT
        )
    ours = encoder.encode([text])
    torch.testing.assert_close(ours.states, states[:, 0])
    assert torch.equal(ours.mask, mask.bool())
    plain = GemmaText(
        tokenizer=tokenizer, module=encoder.module, component=encoder.component, tokens=12, instruction=""
    ).encode(["a red"])
    torch.testing.assert_close(plain.states, negative[:, 0])
    assert torch.equal(plain.mask, negative_mask.bool())


def test_the_instruction_is_the_published_one() -> None:
    assert "\n".join(DEFAULT_CHI_PROMPT) == INSTRUCTION


def test_a_batch_is_its_texts_one_by_one(
    gemma: tuple[GemmaText, Gemma2ForCausalLM, PreTrainedTokenizerFast],
) -> None:
    encoder = gemma[0]
    together = encoder.encode(TEXTS)
    assert together.states.shape == (len(TEXTS), 12, encoder.channels)
    for row, text in enumerate(TEXTS):
        alone = encoder.encode([text])
        torch.testing.assert_close(together.states[row][together.mask[row]], alone.states[0][alone.mask[0]])
    with pytest.raises(InputError, match="at least one text"):
        encoder.encode([])


def test_both_encoders_are_encoders(gemma: tuple[GemmaText, Gemma2ForCausalLM, PreTrainedTokenizerFast]) -> None:
    assert isinstance(gemma[0], TextEncoder)
    assert isinstance(HashedText(), TextEncoder)
