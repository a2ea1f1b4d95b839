"""What the model is told of a batch besides its latents: cameras and captions, some left out by `ConditionConfig`."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wmkit.model.rays import CameraBatch
from wmkit.model.text import TextBatch
from wmkit.train.config import TrainConfig
from wmkit.train.draws import uniform

__all__ = ["ClipBatch", "Conditions", "cameras_of", "conditions"]


class ClipBatch(Protocol):
    """What the loop reads of a batch; `wmkit.dataset.batch.Batch` is one."""

    @property
    def video(self) -> Tensor:
        """(B, T, 3, H, W) float32 in [-1, 1]."""
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


def conditions(batch: ClipBatch, config: TrainConfig, step: int, slots: range | None = None) -> Conditions:
    """Conditions of step `step`, a pure function of seed and step; a clip without its caption has an empty one.

    `slots` are the clips' places in the step's batch, None: they are the whole of it. Cameras are left out of a step
    whole: a batch has one camera branch, on or off.
    """
    drop = config.condition
    encoder, text = config.text_encoder, None
    if encoder is not None:
        given = batch.captions or ("",) * len(batch.keys)
        kept = [uniform(config.seed, step, slot, "text") >= drop.text_dropout for slot in slots or range(len(given))]
        text = encoder.encode([caption if keep else "" for caption, keep in zip(given, kept, strict=True)])
    without = uniform(config.seed, step, 0, "cameras") < drop.camera_dropout
    return Conditions(cameras=None if without else cameras_of(batch), text=text)
