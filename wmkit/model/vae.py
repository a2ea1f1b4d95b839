"""VAEs of other makers as latent codecs, through diffusers: LTX-2's, Wan's and DC-AE.

    ltx2   AutoencoderKLLTX2Video   128 channels, a latent frame covers 8 frames, a cell 32 px; what SANA-WM uses
    wan    AutoencoderKLWan         16 or 48 channels, 4 frames, 8 or 16 px
    dc-ae  AutoencoderDC            32 channels, every frame alone, 32 px

diffusers is imported when a VAE is loaded, not before. Facts: sheet `model-training-sampling.md` c.1.
Shapes: B batch, N video frames, T latent frames, C latent channels, H W pixels, h w latent rows and columns.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError, InputError
from wmkit.model.components import Component, VaeKind, check_source, licence_of, missing_component, missing_package
from wmkit.model.latent import LatentSpec

__all__ = ["VAE_KINDS", "DiffusersVae", "VaeKind", "load_vae"]

VAE_KINDS: dict[VaeKind, str] = {"ltx2": "AutoencoderKLLTX2Video", "wan": "AutoencoderKLWan", "dc-ae": "AutoencoderDC"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DiffusersVae:
    """A loaded VAE of `kind` as a `LatentCodec`; `module` is diffusers' own."""

    kind: VaeKind
    module: Any
    component: Component

    def spec(self) -> LatentSpec:
        """Sizes by the module's own config, name and licence."""
        config = self.module.config
        if self.kind == "ltx2":
            channels, stride = config.latent_channels, self.module.temporal_compression_ratio
            downscale = self.module.spatial_compression_ratio
        elif self.kind == "wan":
            channels, stride, downscale = config.z_dim, config.scale_factor_temporal, config.scale_factor_spatial
        else:
            channels, stride = config.latent_channels, 1
            downscale = 2 ** (len(config.encoder_block_out_channels) - 1)
        return LatentSpec(
            channels=channels, stride=stride, downscale=downscale, name=self.kind, licence=self.component.licence
        )

    @torch.no_grad()
    def encode(self, video: Float[Tensor, "B N 3 H W"]) -> Float[Tensor, "B T C h w"]:
        """The posterior's mode. InputError for sizes off the grid, ConfigError when the config says other sizes."""
        spec = self.spec()
        spec.check_video(video)
        given = video.to(self.module.device, self.module.dtype)
        if self.kind == "dc-ae":
            latent = self.module.encode(given.flatten(0, 1)).latent.unflatten(0, video.shape[:2])
        else:
            latent = self.module.encode(given.transpose(1, 2)).latent_dist.mode().transpose(1, 2)
        rows, columns = video.shape[-2] // spec.downscale, video.shape[-1] // spec.downscale
        want = (len(video), spec.latent_frames(video.shape[1]), spec.channels, rows, columns)
        self._check("latent", tuple(latent.shape), want)
        return latent

    @torch.no_grad()
    def decode(self, latent: Float[Tensor, "B T C h w"]) -> Float[Tensor, "B N 3 H W"]:
        """Video, about [-1, 1] and not clamped.

        InputError for another number of channels, ConfigError when the config says other sizes than the tensors make.
        """
        spec = self.spec()
        B, T, C, h, w = latent.shape
        if spec.channels != C:
            raise InputError(f"latent: expected {spec.channels} channels, got {C}")
        given = latent.to(self.module.device, self.module.dtype)
        if self.kind == "dc-ae":
            video = self.module.decode(given.flatten(0, 1)).sample.unflatten(0, (B, T))
        else:
            video = self.module.decode(given.transpose(1, 2)).sample.transpose(1, 2)
        want = (B, 1 + spec.stride * (T - 1), 3, h * spec.downscale, w * spec.downscale)
        self._check("video", tuple(video.shape), want)
        return video

    def _check(self, what: str, got: tuple[int, ...], want: tuple[int, ...]) -> None:
        if got != want:
            raise ConfigError(
                f"{self.kind}: its config promises a {what} of {want}, its tensors make {got}; set "
                "spatial_compression_ratio and temporal_compression_ratio (Wan: scale_factor_*) in its config.json"
            )

    def normalise(self, latent: Float[Tensor, "B T C h w"], inverse: bool = False) -> Float[Tensor, "B T C h w"]:
        """(z - mean) scaling / std by channel, in float32; DC-AE has a scaling alone."""
        mean, std = self._statistics(latent)
        wide = latent.float()
        return (wide * std + mean if inverse else (wide - mean) / std).to(latent.dtype)

    def _statistics(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        config, channels = self.module.config, latent.shape[2]
        if self.kind == "ltx2":
            mean, std = self.module.latents_mean.float(), self.module.latents_std.float() / config.scaling_factor
        elif self.kind == "wan":
            mean, std = torch.tensor(config.latents_mean), torch.tensor(config.latents_std)
        else:
            mean, std = torch.zeros(channels), torch.full((channels,), 1 / config.scaling_factor)
        shape = (1, 1, channels, 1, 1)
        return mean.to(latent.device).view(shape), std.to(latent.device).view(shape)


def load_vae(
    kind: VaeKind,
    source: str | Path,
    *,
    download: bool = False,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    note: Callable[[str], None] | None = None,
) -> DiffusersVae:
    """The VAE in the folder `source` (or its subfolder `vae`), in evaluation mode; `note` is told its licence.

    With `download` also the name of a repository; without, nothing is fetched. safetensors alone are read. Raises
    ConfigError for another kind, InputError where there are no such weights or no diffusers.
    """
    if kind not in VAE_KINDS:
        raise ConfigError(f"vae: expected one of {', '.join(VAE_KINDS)}, got {kind!r}")
    check_source(kind, str(source), download)
    try:
        import diffusers
    except ImportError as error:
        raise missing_package(kind, "diffusers", error) from error
    component = licence_of(kind, str(source))
    if note is not None:
        note(component.line())
    subfolder = "vae" if (Path(source) / "vae").is_dir() else None
    told = diffusers.utils.logging.get_verbosity()
    try:
        diffusers.utils.logging.set_verbosity(logging.CRITICAL)  # it tells what it then raises
        module = getattr(diffusers, VAE_KINDS[kind]).from_pretrained(
            source, subfolder=subfolder, local_files_only=not download, torch_dtype=dtype, low_cpu_mem_usage=False,
            use_safetensors=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise missing_component(kind, str(source), str(error)) from error
    finally:
        diffusers.utils.logging.set_verbosity(told)
    return DiffusersVae(kind=kind, module=module.to(device).eval().requires_grad_(False), component=component)
