"""The camera-controlled world model: architecture, latents and sampler. torch, numpy and jaxtyping alone."""

from wmkit.model.config import ModelConfig
from wmkit.model.dit import CameraDiT
from wmkit.model.latent import PixelUnshuffle
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import SamplerConfig, sample_latents

__all__ = ["CameraBatch", "CameraDiT", "ModelConfig", "PixelUnshuffle", "SamplerConfig", "sample_latents"]
