"""The models that a sample is made by, loaded once for as many samples as are asked of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from wmkit.errors import InputError
from wmkit.model.dit import CameraDiT
from wmkit.model.latent import LatentCodec
from wmkit.model.ltx2_refiner import Ltx2Refiner
from wmkit.model.placement import Placement
from wmkit.model.refiner import DitRefiner
from wmkit.model.text import TextEncoder
from wmkit.sample.identity import Digests, weight_digests
from wmkit.sample.options import SampleOptions
from wmkit.sample.refine import load_refiner
from wmkit.train.checkpoint import DataFacts, find_checkpoint, load_model, read_state
from wmkit.train.config import TrainConfig
from wmkit.train.encoders import CodecChoice, TextChoice

__all__ = ["Parts", "load_parts"]

Choice = TypeVar("Choice", CodecChoice, TextChoice)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """A checkpoint's model with its config and what it was trained on, what works beside it, and where.

    text, refiner  None where there is none.
    digests        sha256 of what was loaded, by name; see `weight_digests`.
    """

    checkpoint: Path
    model: CameraDiT
    config: TrainConfig
    facts: DataFacts
    codec: LatentCodec
    text: TextEncoder | None
    refiner: DitRefiner | Ltx2Refiner | None
    digests: Digests
    place: Placement

    def settle(self) -> None:
        """Put what is not offloaded on the device; until then everything is on the CPU."""
        refiner = self.refiner
        second = refiner.parts if isinstance(refiner, Ltx2Refiner) else () if refiner is None else (refiner.model,)
        self.place.settle(self.model, self.codec, self.text, *second)


def load_parts(options: SampleOptions, digests: Digests | None = None) -> Parts:
    """What `options` name; `digests` is `weight_digests(options)`, when the caller has it.

    Raises as `load_model` and `load_refiner` do; InputError for a device that is not there, and for a VAE or text
    encoder that is not the checkpoint's.
    """
    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: expected a GPU that torch can use, found none; use --device cpu")
    checkpoint, place = find_checkpoint(options.checkpoint), options.place
    model, config = load_model(checkpoint)
    codec = _codec(config, options.vae)
    return Parts(
        checkpoint=checkpoint,
        model=place.rounded(model),
        config=config,
        facts=read_state(checkpoint).data,
        codec=codec,
        text=_text(config, options.text),
        refiner=None if options.refiner is None else load_refiner(options.refiner, codec.spec(), place),
        digests=weight_digests(options) if digests is None else digests,
        place=place,
    )


def _choice(kind: type[Choice], flag: str, named: str | None, wanted: str, made: str) -> Choice:
    """What `flag` names, which has to be what the checkpoint was trained on."""
    expected = f"expected {wanted}=FOLDER, whose {made} the checkpoint was trained on"
    if named is None:
        raise InputError(f"{flag}: {expected}, got none")
    choice = kind.parse(named)
    if choice.name != wanted:
        raise InputError(f"{flag} {named}: {expected}")
    return choice


def _codec(config: TrainConfig, named: str | None) -> LatentCodec:
    """The codec whose latents the model makes."""
    wanted, model = config.data.vae, config.model
    if wanted == "pixel-unshuffle":
        if named is not None:
            raise InputError(f"--vae {named}: expected none, the checkpoint's latents are {wanted}'s; leave it out")
        return config.codec
    codec = _choice(CodecChoice, "--vae", named, wanted, "latents").load("cpu")
    spec = codec.spec()
    found = spec.channels, spec.stride, spec.downscale
    if found != (model.latent_channels, model.latent_stride, model.latent_downscale):
        raise InputError(
            f"--vae {named}: expected latents of {model.latent_channels} channels, {model.latent_stride} frames and "
            f"{model.latent_downscale} px, got {found[0]}, {found[1]} and {found[2]}; name another folder"
        )
    return codec


def _text(config: TrainConfig, named: str | None) -> TextEncoder | None:
    """The encoder of captions that the model reads, None where it reads none."""
    wanted, model = config.condition.encoder, config.model.text
    if model is None or wanted == "hashed":
        if named is not None:
            what = "without text" if model is None else "with hashed words"
            raise InputError(f"--text {named}: expected none, the checkpoint was trained {what}; leave it out")
        return config.text_encoder
    encoder = _choice(TextChoice, "--text", named, wanted, "states").load("cpu")
    if encoder.channels != model.channels:
        raise InputError(
            f"--text {named}: expected states of {model.channels} channels, got {encoder.channels}; name another folder"
        )
    return encoder
