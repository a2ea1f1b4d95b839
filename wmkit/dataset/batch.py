"""`Batch`: what a training step is given, as torch tensors; frames first, (B, T, …)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wmkit.errors import InputError

__all__ = ["Batch", "DepthFrames", "TextStates"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextStates:
    """Precomputed states of B captions, and of an empty one for each: float32, zero where the masks are false."""

    states: Float[Tensor, "B L C"]
    mask: Bool[Tensor, "B L"]
    empty_states: Float[Tensor, "B L C"]
    empty_mask: Bool[Tensor, "B L"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthFrames:
    """Depth of B crops of T frames, along each camera's z axis, in the unit of the crop's translations: metres where
    the batch says `metric`. z float32, 0 where `valid` is false; most frames have no map, and are so throughout."""

    z: Float[Tensor, "B T H W"]
    valid: Bool[Tensor, "B T H W"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """B crops of T consecutive posed frames.

    video           RGB in [-1, 1], float32; N is T, or 0 where latents are read instead.
    latent          float32, as a model sees it, where the loader was asked for latents: t = 1 + (T - 1) / stride.
    text            states of the captions, where the loader was asked for them.
    depth           of the H x W frames, where the loader was asked for it.
    world_from_cam  float32, OpenCV axes; the world is the first camera of the crop, so row 0 is the identity.
                    Translations are metres where `metric`, else in median depths of the clip.
    intrinsics      fx fy cx cy in px of the H x W frames, float32; pixel (0,0) covers [0,1)².
    keys            clip id of every crop.
    metric          whether the crop's unit is the metre.
    captions        what each crop's clip shows, "" where nothing says; all "" unless the loader was asked for them.
    step            of the run, from 0: the state of a loader that goes on after this batch is step + 1.
    damaged         keys of samples that could not be read and whose place another one of `keys` took.

    Raises InputError when the shapes do not agree.
    """

    video: Float[Tensor, "B N 3 H W"]
    world_from_cam: Float[Tensor, "B T 4 4"]
    intrinsics: Float[Tensor, "B T 4"]
    keys: tuple[str, ...]
    metric: tuple[bool, ...]
    step: int
    captions: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    latent: Float[Tensor, "B t C h w"] | None = None
    text: TextStates | None = None
    depth: DepthFrames | None = None

    def __post_init__(self) -> None:
        if self.video.ndim != 5 or self.video.shape[2] != 3:
            raise InputError(f"batch video: expected shape (B, T, 3, H, W), got {tuple(self.video.shape)}")
        head = (len(self.video), self.video.shape[1] if self.latent is None else self.world_from_cam.shape[1])
        if self.video.shape[1] not in (0, head[1]) or (self.latent is not None and len(self.latent) != head[0]):
            raise InputError(f"batch: expected frames or latents of {head[0]} clips of {head[1]} frames, got others")
        want = {"world_from_cam": (*head, 4, 4), "intrinsics": (*head, 4)}
        for name, shape in want.items():
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise InputError(f"batch {name}: expected shape {shape}, got {got}")
        if self.depth is not None:
            shape = (*head, *self.video.shape[3:])
            got = tuple(self.depth.z.shape), tuple(self.depth.valid.shape)
            if got != (shape, shape):
                raise InputError(f"batch depth: expected z and valid of shape {shape}, got {got[0]} and {got[1]}")
        if not len(self.keys) == len(self.metric) == head[0]:
            raise InputError(f"batch: expected {head[0]} keys and metric flags, got {len(self.keys)}")
        if any(tensor.dtype != torch.float32 for tensor in (self.video, self.world_from_cam, self.intrinsics)):
            raise InputError("batch: expected float32 tensors")
