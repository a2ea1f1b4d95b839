"""What the model is shown and told of a batch: latents; cameras and captions, some left out by `ConditionConfig`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wmkit.model.rays import CameraBatch
from wmkit.model.text import TextBatch
from wmkit.train.config import TrainConfig
from wmkit.train.draws import uniform

__all__ = ["ClipBatch", "Conditions", "StoredText", "cameras_of", "clean_latents", "conditions", "text_of"]


class StoredText(Protocol):
    """Captions that were encoded before: states (B, L, C) and mask (B, L) of each, and of an empty one."""

    @property
    def states(self) -> Tensor:
        """Of the captions."""
        ...

    @property
    def mask(self) -> Tensor:
        """Where they have tokens."""
        ...

    @property
    def empty_states(self) -> Tensor:
        """Of an empty caption, B times."""
        ...

    @property
    def empty_mask(self) -> Tensor:
        """Where it has tokens."""
        ...


class ClipBatch(Protocol):
    """What the loop reads of a batch; `wmkit.dataset.batch.Batch` is one."""

    @property
    def video(self) -> Tensor:
        """(B, T, 3, H, W) float32 in [-1, 1]; (B, 0, 3, H, W) where there are latents in its place."""
        ...

    @property
    def world_from_cam(self) -> Tensor:
        """(B, T, 4, 4) float32, relative to the clip's first frame."""
        ...

    @property
    def intrinsics(self) -> Tensor:
        """(B, T, 4) float32 fx fy cx cy, px of the H x W frames."""
        ...

    @property
    def keys(self) -> tuple[str, ...]:
        """(B,) names of the samples."""
        ...

    @property
    def captions(self) -> tuple[str, ...]:
        """(B,) what is to be seen, "" where nothing says; may be empty for a model without text."""
        ...

    @property
    def latent(self) -> Tensor | None:
        """(B, t, C, h, w) as the model sees it, if it was computed before."""
        ...

    @property
    def text(self) -> StoredText | None:
        """The captions, if they were encoded before."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conditions:
    """Cameras of the video frames, None in a step without any; captions, None for a model without text."""

    cameras: CameraBatch | None
    text: TextBatch | None

    def to(self, device: torch.device) -> "Conditions":
        """The same on another device."""
        cameras, text = self.cameras, self.text
        return Conditions(
            cameras=None if cameras is None else cameras.to(device), text=None if text is None else text.to(device)
        )


def cameras_of(batch: ClipBatch) -> CameraBatch:
    """The cameras of a batch as the model takes them."""
    height, width = batch.video.shape[-2:]
    return CameraBatch(
        world_from_cam=batch.world_from_cam, intrinsics=batch.intrinsics, width=int(width), height=int(height)
    )


def clean_latents(batch: ClipBatch, config: TrainConfig, device: torch.device) -> Tensor:
    """(B, t, C, h, w) of a batch as the model sees them: those it brings, else by the config's codec."""
    if batch.latent is not None:
        return batch.latent.to(device)
    return config.codec.normalise(config.codec.encode(batch.video.to(device)))


def conditions(batch: ClipBatch, config: TrainConfig, step: int, slots: range | None = None) -> Conditions:
    """Conditions of step `step`, a pure function of seed and step; a clip without its caption has an empty one.

    `slots` are the clips' places in the step's batch, None: they are the whole of it. Cameras are left out of a step
    whole: a batch has one camera branch, on or off.
    """
    drop = config.condition
    text = None
    if config.model.text is not None:
        places = slots or range(len(batch.keys))
        kept = [uniform(config.seed, step, slot, "text") >= drop.text_dropout for slot in places]
        text = text_of(batch, config, kept)
    without = uniform(config.seed, step, 0, "cameras") < drop.camera_dropout
    return Conditions(cameras=None if without else cameras_of(batch), text=text)


def text_of(batch: ClipBatch, config: TrainConfig, kept: Sequence[bool]) -> TextBatch | None:
    """The captions that are kept, and empty ones; None without an encoder where they were not encoded before."""
    stored, encoder = batch.text, None if batch.text is not None else config.text_encoder
    if stored is not None:
        keep = torch.tensor(kept, device=stored.mask.device)[:, None]
        states = torch.where(keep[..., None], stored.states, stored.empty_states)
        return TextBatch(states=states, mask=torch.where(keep, stored.mask, stored.empty_mask))
    given = batch.captions or ("",) * len(batch.keys)
    captions = [caption if keep else "" for caption, keep in zip(given, kept, strict=True)]
    return None if encoder is None else encoder.encode(captions)
