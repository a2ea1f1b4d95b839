"""Named model configs of the released architecture, from its own size down to one that a test runs.

`sana-wm-2.6b` is the public SANA-WM bidirectional model (arXiv 2605.15178; sheet `sana-wm.md` section 2): 870
tensors. The others keep its head size, its blocks' order and its packing of cameras, and are our own sizes.
"""

from dataclasses import replace

from wmkit.errors import ConfigError
from wmkit.model.config import ModelConfig, TextConfig

__all__ = ["PRESETS", "preset"]

RELEASED = ModelConfig(
    latent_channels=128,
    latent_stride=8,
    latent_downscale=32,
    width=2240,
    depth=20,
    heads=20,
    softmax_every=4,
    text=TextConfig(),
    compat="sana-wm",
    prediction="velocity",
)

PRESETS: dict[str, ModelConfig] = {
    "sana-wm-2.6b": RELEASED,
    "sana-wm-650m": replace(RELEASED, width=1232, depth=16, heads=11),
    "sana-wm-66m": replace(RELEASED, width=448, depth=12, heads=4),
    "tiny": replace(RELEASED, latent_channels=16, width=64, depth=4, heads=2, text=TextConfig(channels=32, tokens=12)),
}


def preset(name: str) -> ModelConfig:
    """The config of that name; ConfigError lists the names there are."""
    if name not in PRESETS:
        raise ConfigError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]
