"""Everything that fixes the shape of a model, as one frozen value that survives JSON.

Released size (arXiv 2605.15178): latent_channels 128, width 2240, depth 20, heads 20, stride 8. The defaults are
the small instance that trains on a CPU.
"""

from dataclasses import dataclass, fields, is_dataclass
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

__all__ = ["ModelConfig"]


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
    prediction        what the last layer says: "velocity" (as released) or "clean", the x0 that velocity is derived
                      from. A token of fewer channels than its latent cannot carry the noise that a velocity
                      contains, but it can carry the picture (arXiv 2511.13720): so "clean" for pixel latents.

    Raises ConfigError when a number is out of range.
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
        bad = {name: value for name, value in small.items() if value < 1}
        if bad or self.softmax_every < 0 or self.mlp_ratio <= 0 or self.rope_theta <= 1:
            raise ConfigError(f"model: expected positive sizes, got {bad or self}")
        if self.width % self.heads or (self.width // self.heads) % 8:
            raise ConfigError(
                f"model: expected heads of a multiple of 8 channels, got width {self.width} / {self.heads} heads"
            )
        if self.frequency_channels % 2 or self.frequency_channels < 4:
            raise ConfigError(f"model: expected an even frequency_channels >= 4, got {self.frequency_channels}")
        if self.prediction not in ("velocity", "clean"):
            raise ConfigError(f"model: expected prediction velocity or clean, got {self.prediction}")

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
        """JSON-able; a branch becomes {"kind": name, ...its fields}, no branch null."""
        plain: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["camera_attention"] = _branch_to_dict(self.camera_attention, ATTENTION_BRANCHES)
        plain["camera_map"] = _branch_to_dict(self.camera_map, MAP_BRANCHES)
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "ModelConfig":
        """The config of `to_dict`; raises ConfigError on a key or branch it does not know."""
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
        return cls(**values)


def _branch_to_dict(branch: object, kinds: dict[str, type]) -> dict[str, Any] | None:
    if branch is None:
        return None
    for kind, config in kinds.items():
        if type(branch) is config and is_dataclass(branch):
            return {"kind": kind} | {field.name: getattr(branch, field.name) for field in fields(branch)}
    raise ConfigError(f"model: {type(branch).__name__} has no name in JSON; the named ones are {sorted(kinds)}")


def _branch_from_dict(plain: dict[str, Any] | None, kinds: dict[str, type]) -> Any:
    if plain is None:
        return None
    values = dict(plain)
    kind = values.pop("kind", None)
    if kind not in kinds:
        raise ConfigError(f"model: unknown camera branch {kind}; expected one of {sorted(kinds)} or null")
    config = kinds[kind]
    unknown = set(values) - {field.name for field in fields(config)}
    if unknown:
        raise ConfigError(f"model: unknown key {sorted(unknown)[0]} of camera branch {kind}")
    return config(**values)
