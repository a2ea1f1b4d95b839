"""Depth in metres by the transformers package's depth-estimation models, from a folder on this machine.

Depth Anything (metric heads), ZoeDepth, DepthPro, Metric3D-class: whatever `AutoModelForDepthEstimation` knows and
gives metres. A model of relative depth is refused, as its numbers are no metres.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Intrinsics
from wmkit.errors import InputError

__all__ = ["TransformersDepth"]


class TransformersDepth:
    """`MetricDepthPredictor` over one local model; raises InputError when it does not load or is not metric."""

    def __init__(self, path: str, device: str) -> None:
        """Load config, image processor and weights of the folder `path`, without any network."""
        import torch
        from transformers import (  # pyright: ignore[reportMissingImports]
            AutoImageProcessor,
            AutoModelForDepthEstimation,
        )

        self.device = device
        try:
            self.processor: Any = AutoImageProcessor.from_pretrained(path, local_files_only=True)
            model: Any = AutoModelForDepthEstimation.from_pretrained(
                path, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
            )
        except (OSError, ValueError, KeyError) as error:
            line = " ".join(str(error).split())[:200]
            raise InputError(f"--metric-depth {path}: expected a depth-estimation model, got: {line}") from None
        if not _gives_metres(model.config):
            kind = getattr(model.config, "model_type", "unknown")
            raise InputError(
                f"--metric-depth {path}: expected a model that gives metres, got {kind} with relative depth"
            )
        self.model = model.to(device).eval()

    def metres(self, rgb: NDArray[np.uint8], camera: Intrinsics) -> NDArray[np.float32]:
        """See `MetricDepthPredictor.metres`; the camera is not used: these models assume or find their own."""
        import torch

        inputs = self.processor(images=rgb, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            outputs = self.model(**inputs)
        kinds = {"target_sizes": [rgb.shape[:2]]}
        if type(self.processor).__name__.startswith("ZoeDepth"):
            kinds["source_sizes"] = [rgb.shape[:2]]
        found = self.processor.post_process_depth_estimation(outputs, **kinds)[0]["predicted_depth"]
        depth = np.array(found.float().cpu().numpy(), dtype=np.float32)
        depth[~(depth > 0)] = np.nan
        return depth


def _gives_metres(config: Any) -> bool:
    """Whether the config says that the head's output is metres."""
    if getattr(config, "depth_estimation_type", None) is not None:
        return config.depth_estimation_type == "metric"
    return getattr(config, "model_type", "") in ("zoedepth", "depth_pro", "metric3d", "unidepth", "promptda")
