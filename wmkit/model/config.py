"""Everything that fixes the shape of a model, as one frozen value that survives JSON.

The defaults are the small instance that trains on a CPU; `wmkit.model.presets` names others, the released size
among them (arXiv 2605.15178).
"""

import math
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal

from wmkit.errors import ConfigError
from wmkit.model.camera_branches import (
    ATTENTION_BRANCHES,
    MAP_BRANCHES,
    AttentionBranch,
    MapBranch,
    PluckerConfig,
    UcpeConfig,
)
from wmkit.model.rays import Compat

__all__ = ["ModelConfig", "TextConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """Text that every block attends to.

    channels      of the text encoder's states: 2304 is Gemma-2-2b.
    tokens        longest caption.
    norm_scale    initial weight of the norm over embedded captions (released y_norm_scale_factor).
    null_caption  whether the model owns `y_embedder.y_embedding` (tokens, channels), what no text is for it. The
                  released models encode an empty prompt instead; some of their files carry the tensor all the same.

    Raises ConfigError when a value is of another type or out of range.
    """

    channels: int = 2304
    tokens: int = 300
    norm_scale: float = 0.01
    null_caption: bool = False

    def __post_init__(self) -> None:
        whole = _is_whole(self.channels, 1) and _is_whole(self.tokens, 2)
        if not whole or not _is_above(self.norm_scale, 0.0):
            raise ConfigError(
                f"model.text: expected whole channels >= 1 and tokens >= 2, and norm_scale > 0, got {self.channels!r}, "
                f"{self.tokens!r} and {self.norm_scale!r}"
            )
        if not isinstance(self.null_caption, bool):
            raise ConfigError(f"model.text: expected null_caption true or false, got {self.null_caption!r}")


CHOICES = {
    "camera_renorm": ("none", "rms"),
    "mixer": ("frame-gdn", "linear", "token-gdn"),
    "compat": ("none", "sana-wm"),
    "prediction": ("velocity", "clean"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Shape of a `CameraDiT`.

    latent_channels   C of the latent; 768 is PixelUnshuffle(downscale=8, stride=4).
    latent_stride     video frames a latent frame covers; `latent_downscale` px a latent cell covers, each way.
    width, depth      channels of a token, number of blocks; `heads` divides width into heads of a multiple of 8.
    softmax_every     every n-th block attends by softmax, the others by frame-wise GDN; 0 for none.
    mlp_ratio         hidden channels of the gated MLP over width.
    conv_kernel       taps of the temporal convolution on keys (GDN blocks).
    frequency_channels  size of the sinusoidal embedding of sigma.
    rope_theta        base of the rotary frequencies.
    camera_attention  attention branch or None; camera_map: map branch or None.
    camera_renorm     "none": queries, keys and values keep the size that the camera maps give them, as the released
                      code (NVlabs, all blocks) has it. "rms": each is shrunk back to its size before the map, as
                      diffusers 0.42.1 has it. The maps hold translations, so the two differ more the further the path
                      goes (see `attention.py`); released weights want "none".
    mixer             what blocks without softmax do over time: "frame-gdn"; "linear", the ReLU linear attention that a
                      GDN checkpoint is converted from; or, for ablation, "token-gdn", the rule token after token in the
                      main half (the camera half stays frame-wise; no padding, no chunks).
    text              captions, or None: a model without cross-attention.
    compat            "sana-wm": cameras and timesteps packed as the released weights were trained (half a cell off,
                      latent frame 0 sees the cameras of its future, timesteps truncated to integers of 0 .. 1000), and
                      the tensors of the released file that nothing reads (`raymap_embedder`, `recall_gate`) are kept.
                      "none": our own conventions, for new training; see `rays.py` and `dit.py`.
    prediction        what the last layer says: "velocity" (as released) or "clean", the x0 that velocity is derived
                      from. A token of fewer channels than its latent cannot carry the noise that a velocity
                      contains, but it can carry the picture (arXiv 2511.13720): so "clean" for pixel latents.

    Raises ConfigError when a value is of another type or out of range.
    """

    latent_channels: int = 768
    latent_stride: int = 4
    latent_downscale: int = 8
    width: int = 128
    depth: int = 4
    heads: int = 4
    softmax_every: int = 4
    mlp_ratio: float = 3.0
    conv_kernel: int = 4
    frequency_channels: int = 256
    rope_theta: float = 10_000.0
    camera_attention: AttentionBranch | None = UcpeConfig()
    camera_map: MapBranch | None = PluckerConfig()
    camera_renorm: Literal["none", "rms"] = "none"
    mixer: Literal["frame-gdn", "linear", "token-gdn"] = "frame-gdn"
    text: TextConfig | None = None
    compat: Compat = "none"
    prediction: Literal["velocity", "clean"] = "clean"

    def __post_init__(self) -> None:
        small = {
            name: getattr(self, name)
            for name in (
                "latent_channels",
                "latent_stride",
                "latent_downscale",
                "width",
                "depth",
                "heads",
                "conv_kernel",
            )
        }
        bad: dict[str, object] = {name: value for name, value in small.items() if not _is_whole(value, 1)}
        if not _is_whole(self.softmax_every, 0):
            bad["softmax_every"] = self.softmax_every
        if not _is_above(self.mlp_ratio, 0.0):
            bad["mlp_ratio"] = self.mlp_ratio
        if not _is_above(self.rope_theta, 1.0):
            bad["rope_theta"] = self.rope_theta
        if bad:
            raise ConfigError(f"model: expected whole positive sizes, mlp_ratio > 0 and rope_theta > 1, got {bad}")
        if self.width % self.heads or (self.width // self.heads) % 8:
            raise ConfigError(
                f"model: expected heads of a multiple of 8 channels, got width {self.width} / {self.heads} heads"
            )
        if not _is_whole(self.frequency_channels, 4) or self.frequency_channels % 2:
            raise ConfigError(f"model: expected an even frequency_channels >= 4, got {self.frequency_channels}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"model: expected {name} {' or '.join(choices)}, got {getattr(self, name)}")

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.width // self.heads

    @property
    def hidden(self) -> int:
        """Hidden channels of the gated MLP."""
        return int(self.width * self.mlp_ratio)

    def is_softmax(self, layer: int) -> bool:
        """Whether block `layer` (from 0) attends by softmax."""
        return self.softmax_every > 0 and layer % self.softmax_every == self.softmax_every - 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; a branch becomes {"kind": name, ...its fields}, no branch null; text likewise."""
        plain: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["camera_attention"] = _branch_to_dict(self.camera_attention, ATTENTION_BRANCHES)
        plain["camera_map"] = _branch_to_dict(self.camera_map, MAP_BRANCHES)
        plain["text"] = None if self.text is None else asdict(self.text)
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "ModelConfig":
        """The config of `to_dict`; absent keys have their defaults. ConfigError on a key or branch it does not know."""
        values = dict(plain)
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(
                f"model: unknown key {sorted(unknown)[0]}; this version knows {[f.name for f in fields(cls)]}"
            )
        if "camera_attention" in values:
            values["camera_attention"] = _branch_from_dict(values["camera_attention"], ATTENTION_BRANCHES)
        if "camera_map" in values:
            values["camera_map"] = _branch_from_dict(values["camera_map"], MAP_BRANCHES)
        if values.get("text") is not None:
            values["text"] = _text_from_dict(values["text"])
        return cls(**values)


def _is_whole(value: object, least: int) -> bool:
    """Whether it is an integer of at least that; true and 2.0 are none."""
    return type(value) is int and value >= least


def _is_above(value: object, limit: float) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > limit


def _text_from_dict(plain: Any) -> TextConfig:
    known = {field.name for field in fields(TextConfig)}
    if not isinstance(plain, dict) or set(plain) - known:
        raise ConfigError(f"model.text: expected null or an object of {sorted(known)}, got {plain!r}")
    return TextConfig(**plain)


def _branch_to_dict(branch: object, kinds: dict[str, type]) -> dict[str, Any] | None:
    if branch is None:
        return None
    for kind, config in kinds.items():
        if type(branch) is config and is_dataclass(branch):
            return {"kind": kind} | {field.name: getattr(branch, field.name) for field in fields(branch)}
    raise ConfigError(f"model: {type(branch).__name__} has no name in JSON; the named ones are {sorted(kinds)}")


def _branch_from_dict(plain: Any, kinds: dict[str, type]) -> Any:
    if plain is None:
        return None
    if not isinstance(plain, dict):
        raise ConfigError(f'model: expected a camera branch {{"kind": NAME}} of {sorted(kinds)} or null, got {plain!r}')
    values = dict(plain)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(f"model: unknown camera branch {kind}; expected one of {sorted(kinds)} or null")
    config = kinds[kind]
    unknown = set(values) - {field.name for field in fields(config)}
    if unknown:
        raise ConfigError(f"model: unknown key {sorted(unknown)[0]} of camera branch {kind}")
    return config(**values)
