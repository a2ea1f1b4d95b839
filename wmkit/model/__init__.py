"""The camera-controlled world model: architecture, latents, text and sampler; torch, numpy, safetensors, jaxtyping."""

from wmkit.model.config import ModelConfig, TextConfig
from wmkit.model.dit import CameraDiT
from wmkit.model.latent import PixelUnshuffle
from wmkit.model.presets import PRESETS, preset
from wmkit.model.rays import CameraBatch
from wmkit.model.sampler import SamplerConfig, sample_latents
from wmkit.model.text import HashedText, TextBatch

__all__ = ["PRESETS", "CameraBatch", "CameraDiT", "HashedText", "ModelConfig", "PixelUnshuffle", "SamplerConfig",
           "TextBatch", "TextConfig", "preset", "sample_latents"]  # fmt: skip
