"""What a latent codec is, and the one without weights: pixels of a block moved into channels, exactly invertible.

Shapes: B batch, N video frames, T latent frames, C latent channels, H W pixels, h w latent rows and columns.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as nnf

from wmkit.errors import ConfigError, InputError

__all__ = ["LatentCodec", "LatentSpec", "PixelUnshuffle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSpec:
    """What a codec's latents are.

    channels   C of a latent frame.
    stride     video frames a latent frame covers: N = 1 + stride k frames become T = 1 + k.
    downscale  px a latent cell covers, each way.
    name       of the codec; `licence` of its weights, in words.
    """

    channels: int
    stride: int
    downscale: int
    name: str
    licence: str

    def latent_frames(self, video_frames: int) -> int:
        """T of N video frames; raises InputError unless N = 1 + stride k."""
        if video_frames < 1 or (video_frames - 1) % self.stride:
            raise InputError(f"video: expected 1 + {self.stride} k frames, got {video_frames}; crop or hold the last")
        return 1 + (video_frames - 1) // self.stride

    def check_video(self, video: Float[Tensor, "B N 3 H W"]) -> None:
        """Raise InputError unless N = 1 + stride k and H, W divide by `downscale`."""
        self.latent_frames(video.shape[1])
        if video.shape[-1] % self.downscale or video.shape[-2] % self.downscale:
            raise InputError(
                f"video: expected sides that divide by {self.downscale} px, got {video.shape[-1]}x{video.shape[-2]}"
            )


@runtime_checkable
class LatentCodec(Protocol):
    """Video to latents and back. `encode` and `decode` speak the codec's own scale, `normalise` the model's."""

    def spec(self) -> LatentSpec:
        """Sizes, name and licence."""
        ...

    def encode(self, video: Float[Tensor, "B N 3 H W"]) -> Float[Tensor, "B T C h w"]:
        """Latent of a video in [-1, 1], deterministic (the mode of a posterior); InputError for sizes off the grid."""
        ...

    def decode(self, latent: Float[Tensor, "B T C h w"]) -> Float[Tensor, "B N 3 H W"]:
        """Video of a latent; InputError for another number of channels."""
        ...

    def normalise(self, latent: Float[Tensor, "B T C h w"], inverse: bool = False) -> Float[Tensor, "B T C h w"]:
        """The codec's scale to that the model sees (about mean 0 and variance 1), or back with `inverse`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelUnshuffle:
    """Video (B, N, 3, H, W) to latent (B, T, C, h, w) and back, bit for bit.

    N = 1 + stride k video frames become T = 1 + k latent frames of C = stride * 3 * downscale² channels. The first
    latent frame holds the first video frame alone, repeated in every slot; decoding reads its last slot.
    """

    downscale: int = 8
    stride: int = 4

    def __post_init__(self) -> None:
        if self.downscale < 1 or self.stride < 1:
            raise ConfigError(f"latent: expected downscale and stride >= 1, got {self.downscale} and {self.stride}")

    @property
    def channels(self) -> int:
        """C, channels of a latent frame."""
        return self.stride * 3 * self.downscale**2

    def spec(self) -> LatentSpec:
        """Sizes; there are no weights."""
        return LatentSpec(
            channels=self.channels,
            stride=self.stride,
            downscale=self.downscale,
            name="pixel-unshuffle",
            licence="none: no weights",
        )

    def latent_frames(self, video_frames: int) -> int:
        """T of N video frames; raises InputError unless N = 1 + stride k."""
        return self.spec().latent_frames(video_frames)

    def encode(self, video: Float[Tensor, "B N 3 H W"]) -> Float[Tensor, "B T C h w"]:
        """Latent of a video; raises InputError unless N = 1 + stride k and H, W divide by `downscale`."""
        self.spec().check_video(video)
        T = self.latent_frames(video.shape[1])
        padded = torch.cat([video[:, :1].expand(-1, self.stride - 1, -1, -1, -1), video], dim=1)
        slots = nnf.pixel_unshuffle(padded, self.downscale)
        return slots.unflatten(1, (T, self.stride)).flatten(2, 3)

    def decode(self, latent: Float[Tensor, "B T C h w"]) -> Float[Tensor, "B N 3 H W"]:
        """Video of a latent; raises InputError when C is not `channels`."""
        if latent.shape[2] != self.channels:
            raise InputError(f"latent: expected {self.channels} channels, got {latent.shape[2]}")
        slots = latent.unflatten(2, (self.stride, -1)).flatten(1, 2)
        return nnf.pixel_shuffle(slots, self.downscale)[:, self.stride - 1 :]

    def normalise(self, latent: Float[Tensor, "B T C h w"], inverse: bool = False) -> Float[Tensor, "B T C h w"]:
        """The latent itself: pixels in [-1, 1] are what the model sees."""
        return latent
