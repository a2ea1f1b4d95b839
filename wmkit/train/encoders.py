"""Codecs and text encoders by the words of a command line: what is computed before training, and by which weights.

pixel-unshuffle[=STRIDExDOWNSCALE]       no weights; 4x8 unless said
ltx2=FOLDER, wan=FOLDER, dc-ae=FOLDER    diffusers' VAEs, from a folder on this machine
hashed[=CHANNELSxTOKENS]                 no weights; 64x32 unless said
gemma-2=FOLDER                           transformers' Gemma-2, from a folder on this machine
"""

import re
from dataclasses import dataclass
from pathlib import Path

from wmkit.errors import InputError
from wmkit.hashes import hash_of_named_files
from wmkit.model.components import VaeKind
from wmkit.model.latent import LatentCodec, PixelUnshuffle
from wmkit.model.text import HashedText, TextEncoder

__all__ = ["CodecChoice", "TextChoice", "weights_sha256"]

VAES: dict[str, VaeKind] = {"ltx2": "ltx2", "wan": "wan", "dc-ae": "dc-ae"}
FILES = (".json", ".model", ".safetensors", ".txt")  # that decide what a component computes


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecChoice:
    """A codec by name; `folder` of its weights, or `stride` and `downscale` of one without."""

    name: str
    folder: str = ""
    stride: int = 4
    downscale: int = 8

    @classmethod
    def parse(cls, text: str) -> "CodecChoice":
        """As typed after --vae; InputError for an unknown name or what does not belong to it."""
        name, _, rest = text.partition("=")
        if name in VAES and rest:
            return cls(name=name, folder=rest)
        sizes = _pair(rest or "4x8")
        if name != "pixel-unshuffle" or sizes is None:
            raise InputError(
                "--vae: expected pixel-unshuffle, pixel-unshuffle=STRIDExDOWNSCALE, or "
                f"{', '.join(f'{kind}=FOLDER' for kind in VAES)}, got {text!r}"
            )
        return cls(name=name, stride=sizes[0], downscale=sizes[1])

    def load(self, device: str) -> LatentCodec:
        """Ready to encode; InputError where its weights are not in the folder."""
        if not self.folder:
            return PixelUnshuffle(stride=self.stride, downscale=self.downscale)
        from wmkit.model.vae import load_vae

        return load_vae(VAES[self.name], self.folder, device=device)

    def weights(self) -> str:
        """sha256 of what is loaded, "" without weights."""
        folder = Path(self.folder)
        return weights_sha256(folder / "vae" if (folder / "vae").is_dir() else folder) if self.folder else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChoice:
    """A text encoder by name; `folder` of its weights, or `channels` and `tokens` of one without."""

    name: str
    folder: str = ""
    channels: int = 64
    tokens: int = 32

    @classmethod
    def parse(cls, text: str) -> "TextChoice":
        """As typed after --text; InputError for an unknown name or what does not belong to it."""
        name, _, rest = text.partition("=")
        if name == "gemma-2" and rest:
            return cls(name=name, folder=rest)
        sizes = _pair(rest or "64x32")
        if name != "hashed" or sizes is None:
            raise InputError(f"--text: expected hashed, hashed=CHANNELSxTOKENS or gemma-2=FOLDER, got {text!r}")
        return cls(name=name, channels=sizes[0], tokens=sizes[1])

    def load(self, device: str) -> TextEncoder:
        """Ready to encode; InputError where its weights are not in the folder."""
        if not self.folder:
            return HashedText(channels=self.channels, tokens=self.tokens)
        from wmkit.model.gemma import load_gemma

        return load_gemma(self.folder, device=device)

    def weights(self) -> str:
        """sha256 of what is loaded, "" without weights."""
        return weights_sha256(Path(self.folder)) if self.folder else ""


def weights_sha256(folder: Path) -> str:
    """sha256 over names and sha256 of a component's files, sorted: weights, config, tokenizer."""
    files = sorted(path for path in folder.iterdir() if path.suffix in FILES and path.is_file())
    return hash_of_named_files((path.name, path) for path in files)


def _pair(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    return None if found is None else (int(found[1]), int(found[2]))
