"""Depth in metres by MoGe-2 (package `moge`, not a dependency), from a checkpoint on this machine.

Experimental: written against moge 2's public interface (`MoGeModel.from_pretrained(path)`, `infer(image, fov_x=...)`
giving `depth` and `mask`), which no test here can run.
"""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Intrinsics

__all__ = ["MogeDepth"]

MODULE = "moge.model.v2"  # the user's own installation: no registry that we pin has it


class MogeDepth:
    """`MetricDepthPredictor` over MoGe-2; it is told the field of view."""

    def __init__(self, path: str, device: str) -> None:
        """Load the checkpoint `path`."""
        module: Any = importlib.import_module(MODULE)
        self.device = device
        self.model: Any = module.MoGeModel.from_pretrained(path).to(device).eval()

    def metres(self, rgb: NDArray[np.uint8], camera: Intrinsics) -> NDArray[np.float32]:
        """See `MetricDepthPredictor.metres`."""
        import torch

        image = torch.from_numpy(np.array(rgb)).to(self.device).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            found = self.model.infer(image, fov_x=camera.fov_x_deg)
        depth = found["depth"].float().cpu().numpy().astype(np.float32)
        return np.where(found["mask"].bool().cpu().numpy() & (depth > 0), depth, np.float32("nan"))
