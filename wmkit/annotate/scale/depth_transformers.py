"""Depth by the transformers package's depth-estimation models, from a folder on this machine.

Depth Anything (metric heads), ZoeDepth, DepthPro: whatever `AutoModelForDepthEstimation` knows and gives metres; and
Depth Anything and DPT of relative depth, which is inverse depth but for a scale and a shift of each picture. Any other
relative model is refused, as nobody says what its numbers are.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Intrinsics
from wmkit.errors import InputError

__all__ = ["TransformersDepth", "loaded"]

INVERSE_DEPTH = ("depth_anything", "dpt")  # model types whose relative output is affine in 1 / z


class TransformersDepth:
    """`MetricDepthPredictor` over one local model, or inverse depth where `relative` allows it.

    metric  whether the model gives metres; else `raw` gives affine inverse depth.
    """

    def __init__(self, path: str, device: str, flag: str = "--metric-depth", relative: bool = False) -> None:
        """Load config, image processor and weights of the folder `path`, without any network.

        Raises InputError, under the name of the `flag`, when it does not load, or is neither metric nor allowed.
        """
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
            raise InputError(f"{flag} {path}: expected a depth-estimation model, got: {line}") from None
        self.metric = _gives_metres(model.config)
        kind = getattr(model.config, "model_type", "unknown")
        if not self.metric and not relative:
            raise InputError(f"{flag} {path}: expected a model that gives metres, got {kind} with relative depth")
        if not self.metric and kind not in INVERSE_DEPTH:
            known = ", ".join(INVERSE_DEPTH)
            raise InputError(f"{flag} {path}: expected metres, or relative depth of {known}, got {kind}")
        self.model = model.to(device).eval()

    def metres(self, rgb: NDArray[np.uint8], camera: Intrinsics) -> NDArray[np.float32]:
        """See `MetricDepthPredictor.metres`; the camera is not used: these models assume or find their own."""
        depth = self.raw(rgb[None], (rgb.shape[0], rgb.shape[1]))[0]
        depth[~(depth > 0)] = np.nan
        return depth

    def raw(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        """(n, *size) what the model says of pictures (n, h, w, 3), in one batch, resized to `size` (rows, columns)."""
        import torch

        inputs = self.processor(images=list(rgb), return_tensors="pt").to(self.device)
        with torch.inference_mode():
            outputs = self.model(**inputs)
        kinds = {"target_sizes": [size] * len(rgb)}
        if type(self.processor).__name__.startswith("ZoeDepth"):
            kinds["source_sizes"] = [rgb.shape[1:3]] * len(rgb)
        found = self.processor.post_process_depth_estimation(outputs, **kinds)
        return np.stack([np.array(one["predicted_depth"].float().cpu().numpy(), dtype=np.float32) for one in found])


@functools.lru_cache(maxsize=3)
def loaded(
    path: str,
    weights: str,  # noqa: ARG001 - a part of the cache's key
    device: str,
    flag: str,
    *,
    relative: bool = False,
) -> TransformersDepth:
    """The model, loaded once a process and not for every clip: as many as a config can have.

    `weights` is the sha256 of the folder's weights: other ones of the same path are another model.
    """
    return TransformersDepth(path, device, flag, relative)


def _gives_metres(config: Any) -> bool:
    """Whether the config says that the head's output is metres."""
    if getattr(config, "depth_estimation_type", None) is not None:
        return config.depth_estimation_type == "metric"
    return getattr(config, "model_type", "") in ("zoedepth", "depth_pro", "metric3d", "unidepth", "promptda")
