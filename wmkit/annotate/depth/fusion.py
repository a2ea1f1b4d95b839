"""Two networks: one of consistent structure, and one whose metres anchor every frame (SANA-WM, App. B.1).

Per frame the structure d is multiplied by s = argmin Σ w (s d − D)², D the anchor's metres, w = 1 / d, in closed form,
and s is smoothed over time with momentum 0.99 a frame. What that gives is laid onto the sparse points like any
network's depth, since depth is as metric as the trajectory is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.depth.line_fit import blended
from wmkit.annotate.depth.network import NetworkDepthConfig, aligned_maps, batches
from wmkit.annotate.depth.views import chosen_frames, map_size
from wmkit.annotate.protocols import UNHASHED, DepthEstimator, Unmeasured
from wmkit.annotate.scale.depth_network import local_weights, metric_predictor
from wmkit.clip import Annotation, DepthMap
from wmkit.errors import InputError
from wmkit.video.frames import FrameSource

__all__ = ["FusedDepthConfig", "anchor_factor", "named_fusion"]

MIN_PIXELS = 100
FLAG = "--depth-anchor"
Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedDepthConfig:
    """Structure by one network times metres by another.

    structure    its settings count for both: which frames, how large, momentum. It must give metres-like depth, since
                 relative depth has no zero that a factor could keep.
    anchor_path  a transformers folder that gives metres, or a MoGe-2 .pt.
    anchor_hash  sha256 of its weight files.
    """

    structure: NetworkDepthConfig
    anchor_path: str = field(metadata={UNHASHED: True})
    anchor_hash: str
    weights_licence: str = "the weights' own"
    name: ClassVar[str] = "depth_fusion"
    on_gpu: ClassVar[bool] = True
    licence: ClassVar[str] = "Apache-2.0"  # of this adapter

    @property
    def weights_hash(self) -> str:
        """Of the structure and of the anchor, joined by +."""
        return f"{self.structure.weights_hash}+{self.anchor_hash}"

    def build(self, device: str) -> DepthEstimator:
        """The estimator; both networks are loaded onto `device` when a clip first needs them."""
        return _FusedDepth(self, device)


def named_fusion(structure: NetworkDepthConfig, anchor: Path) -> FusedDepthConfig:
    """What `--depth-anchor PATH` beside `--depth-model` means; InputError when the weights are not here."""
    path, digest = local_weights(anchor, FLAG)
    return FusedDepthConfig(structure=structure, anchor_path=str(path), anchor_hash=digest)


@dataclass(frozen=True, slots=True)
class _FusedDepth:
    config: FusedDepthConfig
    device: str

    def estimate(self, frames: FrameSource, annotation: Annotation) -> DepthMap | Unmeasured:
        structure = self.config.structure
        if annotation.trajectory is None:
            return Unmeasured(reason="no_trajectory")
        chosen = chosen_frames(annotation.trajectory.posed, structure.max_frames, structure.only)
        return aligned_maps(self._inverse(frames, annotation, chosen), annotation, structure.momentum)

    def _inverse(self, frames: FrameSource, annotation: Annotation, chosen: list[int]) -> Iterator[tuple[int, Image]]:
        """1 / metres of each chosen frame that both networks see."""
        from wmkit.annotate.scale.depth_transformers import loaded

        structure = self.config.structure
        width, height = map_size(annotation.view.width, annotation.view.height, structure.max_side)
        model = loaded(structure.path, structure.weights_hash, self.device, "--depth-model", relative=True)
        if not model.metric:
            raise InputError(
                f"{FLAG}: expected a --depth-model that gives depth, got relative inverse depth, which has no zero; "
                "leave the anchor out"
            )
        anchor = metric_predictor(self.config.anchor_path, self.config.anchor_hash, self.device, FLAG)
        smooth, last = None, 0
        for indices, rgb in batches(frames, chosen, structure.batch):
            shapes = model.raw(rgb, (height, width))
            for frame, picture, depth in zip(indices, rgb, shapes, strict=True):
                metres = anchor.metres(picture, annotation.intrinsics[frame])
                factor = anchor_factor(depth, _shrunk(metres, width, height))
                if factor is None:
                    continue
                now = np.array([factor])
                smooth = now if smooth is None else blended(smooth, now, frame - last, structure.momentum)
                last = frame
                yield frame, np.where(depth > 0, 1 / (smooth[0] * np.maximum(depth, 1e-9)), np.nan).astype(np.float32)


def anchor_factor(structure: Image, metres: Image) -> float | None:
    """s = argmin Σ (s d − D)² / d over pixels where both are known; None for fewer than MIN_PIXELS of them."""
    known = (structure > 0) & np.isfinite(metres) & (metres > 0)
    if known.sum() < MIN_PIXELS:
        return None
    d, anchor = structure[known].astype(np.float64), metres[known].astype(np.float64)
    return float(anchor.sum() / d.sum())  # w d D / (w d d) with w = 1 / d


def _shrunk(metres: Image, width: int, height: int) -> Image:
    import cv2

    return np.asarray(cv2.resize(metres, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.float32)
