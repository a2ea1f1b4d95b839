"""Captions as the model takes them, and the encoder that needs no download.

Shapes: B batch, L text tokens, C channels of the text encoder.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wmkit.errors import ConfigError, InputError

__all__ = ["HashedText", "TextBatch", "TextEncoder"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextBatch:
    """Encoded captions of B clips: `states` (B, L, C), `mask` (B, L) true where a token is one.

    Raises InputError when shapes disagree or a caption has no token.
    """

    states: Float[Tensor, "B L C"]
    mask: Bool[Tensor, "B L"]

    def __post_init__(self) -> None:
        if self.states.ndim != 3 or self.mask.shape != self.states.shape[:2] or self.mask.dtype != torch.bool:
            raise InputError(
                f"text: expected states (B, L, C) and a boolean mask (B, L), got {tuple(self.states.shape)} and "
                f"{self.mask.dtype} {tuple(self.mask.shape)}"
            )
        if not self.mask.is_meta and not self.mask.any(dim=1).all():
            raise InputError("text: expected at least one token a caption, got none; encode an empty text instead")

    def to(self, device: torch.device | str) -> "TextBatch":
        """The same captions on another device."""
        return TextBatch(states=self.states.to(device), mask=self.mask.to(device))


@runtime_checkable
class TextEncoder(Protocol):
    """Texts to `TextBatch`; `licence` is that of its weights."""

    @property
    def channels(self) -> int:
        """C."""
        ...

    @property
    def licence(self) -> str:
        """Licence of the weights, in words."""
        ...

    def encode(self, texts: Sequence[str]) -> TextBatch:
        """States of every text; an empty text is one too."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedText:
    """Each word to a fixed random direction, no weights: tells captions apart, knows nothing of meaning.

    `channels` C, `tokens` L with the beginning-of-text token. A word's vector has components +-1, drawn by SHA-256 of
    the lower-case word, so it is the same on every machine. Words beyond L - 1 are left out, the first ones kept.
    """

    channels: int = 64
    tokens: int = 32
    licence: str = "none: no weights"

    def __post_init__(self) -> None:
        if self.channels < 1 or self.tokens < 1:
            raise ConfigError(f"hashed text: expected channels and tokens >= 1, got {self.channels} and {self.tokens}")

    def encode(self, texts: Sequence[str]) -> TextBatch:
        """States (B, tokens, channels); raises InputError for no text."""
        if not texts:
            raise InputError("text: expected at least one text, got none")
        states = torch.zeros(len(texts), self.tokens, self.channels)
        mask = torch.zeros(len(texts), self.tokens, dtype=torch.bool)
        for row, text in enumerate(texts):
            words = ["<bos>", *re.findall(r"\w+", text.lower())][: self.tokens]
            states[row, : len(words)] = torch.stack([self._vector(word) for word in words])
            mask[row, : len(words)] = True
        return TextBatch(states=states, mask=mask)

    def _vector(self, word: str) -> Tensor:
        blocks = -(-self.channels // 256)
        digest = b"".join(hashlib.sha256(f"{block}:{word}".encode()).digest() for block in range(blocks))
        bits = [(digest[i // 8] >> (i % 8)) & 1 for i in range(self.channels)]
        return torch.tensor(bits, dtype=torch.float32) * 2 - 1
