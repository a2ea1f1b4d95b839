"""Depth by a network that looks at single pictures, laid onto the sparse points; weights on this machine.

Per frame, 1 / z of the points is fitted as a line of what the network says of inverse depth there (metres: 1 / metres;
relative: as it comes), robustly (Tukey), and the line's two numbers are smoothed over time with momentum 0.99 a frame,
as ViPE and SANA-WM do (arXiv 2508.10934, SANA-WM App. B). Like everything else the depth is in the trajectory's unit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.depth.line_fit import MIN_POINTS, robust_line, smoothed
from wmkit.annotate.depth.views import chosen_frames, map_size
from wmkit.annotate.protocols import UNHASHED, DepthEstimator, Unmeasured
from wmkit.annotate.scale.depth_network import local_weights, seen_at_points
from wmkit.camera import Array
from wmkit.clip import Annotation, DepthMap
from wmkit.errors import InputError
from wmkit.video.frames import FrameSource

if TYPE_CHECKING:
    from wmkit.annotate.scale.depth_transformers import TransformersDepth

__all__ = ["NetworkDepthConfig", "aligned_maps", "batches", "inverse_of", "named_depth_model"]

OWN_LICENCE = "the weights' own"
FARTHEST = 20.0  # times the median depth of the points in view: beyond, a network's inverse depth is as good as none
Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDepthConfig:
    """A transformers depth-estimation model of metric or relative depth as the depth estimator.

    path             folder of config.json, preprocessor_config.json and *.safetensors.
    weights_hash     sha256 of the weight files.
    weights_licence  what is known of their licence.
    max_side, max_frames, only  as for `PlaneSweepConfig`.
    momentum         of the smoothing, a frame; 0 lets every frame stand alone, 1 keeps the first frame's line.
    batch            pictures at a time.
    Raises InputError for numbers that cannot work.
    """

    path: str = field(metadata={UNHASHED: True})
    weights_hash: str
    weights_licence: str = OWN_LICENCE
    max_side: int = 320
    max_frames: int | None = 12
    only: tuple[int, ...] = ()
    momentum: float = 0.99
    batch: int = 8
    name: ClassVar[str] = "depth_network"
    on_gpu: ClassVar[bool] = True
    licence: ClassVar[str] = "Apache-2.0"  # of this adapter

    def __post_init__(self) -> None:
        if not 0 <= self.momentum <= 1 or self.batch < 1 or self.max_side < 1:
            raise InputError(
                f"depth network: expected momentum from 0 to 1, batch and max_side of at least 1, got {self.momentum}, "
                f"{self.batch} and {self.max_side}"
            )

    def build(self, device: str) -> DepthEstimator:
        """The estimator; the network is loaded onto `device` when a clip first needs it."""
        return _NetworkDepth(self, device)


def named_depth_model(path: Path, max_side: int, max_frames: int | None) -> NetworkDepthConfig:
    """What `--depth-model PATH` means; InputError when the weights or their package are not here."""
    path, digest = local_weights(path, "--depth-model")
    if not path.is_dir():
        raise InputError(f"--depth-model {path}: expected a transformers model folder, got a file")
    return NetworkDepthConfig(path=str(path), weights_hash=digest, max_side=max_side, max_frames=max_frames)


@dataclass(frozen=True, slots=True)
class _NetworkDepth:
    config: NetworkDepthConfig
    device: str

    def estimate(self, frames: FrameSource, annotation: Annotation) -> DepthMap | Unmeasured:
        config = self.config
        if annotation.trajectory is None:
            return Unmeasured(reason="no_trajectory")
        chosen = chosen_frames(annotation.trajectory.posed, config.max_frames, config.only)
        return aligned_maps(self._inverse(frames, annotation, chosen), annotation, config.momentum)

    def _inverse(self, frames: FrameSource, annotation: Annotation, chosen: list[int]) -> Iterator[tuple[int, Image]]:
        """Inverse depth of each chosen frame, affine to the true one."""
        from wmkit.annotate.scale.depth_transformers import loaded

        width, height = map_size(annotation.view.width, annotation.view.height, self.config.max_side)
        weights = self.config.weights_hash
        model = loaded(self.config.path, weights, self.device, "--depth-model", relative=True)
        for indices, rgb in batches(frames, chosen, self.config.batch):
            yield from zip(indices, inverse_of(model, rgb, (height, width)), strict=True)


def inverse_of(model: "TransformersDepth", rgb: NDArray[np.uint8], size: tuple[int, int]) -> Image:
    """(n, *size) inverse depth by a model of either kind; NaN where a metric one knows none."""
    said = model.raw(rgb, size)
    if not model.metric:
        return said
    return np.where(said > 0, 1 / np.where(said > 0, said, 1), np.nan).astype(np.float32)


def batches(frames: FrameSource, chosen: list[int], size: int) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """The chosen frames in order, at most `size` at a time, with their indices."""
    wanted, indices, pictures = frozenset(chosen), [], []
    for window in frames.windows():
        for index, rgb in enumerate(window.rgb, start=window.start):
            if index in wanted:
                indices.append(index)
                pictures.append(rgb)
            if len(pictures) == size:
                yield indices, np.stack(pictures)
                indices, pictures = [], []
    if pictures:
        yield indices, np.stack(pictures)


def aligned_maps(said: Iterator[tuple[int, Image]], annotation: Annotation, momentum: float) -> DepthMap | Unmeasured:
    """Depth maps from affine inverse depth (h, w) by frame, in the trajectory's unit.

    A frame whose points the network contradicts, or that sees too few, has no map. Unmeasured when none is left. The
    maps have no confidence: a network of this kind says none.
    """
    assert annotation.trajectory is not None
    if annotation.points is None or len(annotation.points) == 0:
        return Unmeasured(reason="no_points")
    kept, maps, lines, nearest = [], [], [], []
    for frame, inverse in said:
        z, seen = seen_at_points(annotation, frame, inverse)
        known = np.isfinite(seen)
        line = robust_line(seen[known], 1 / z[known]) if known.sum() >= MIN_POINTS else None
        if line is None:
            continue
        kept.append(frame)
        maps.append(inverse)
        lines.append(line)
        nearest.append(float(np.median(1 / z[known])) / FARTHEST)
    if not kept:
        return Unmeasured(reason="no_frame_whose_points_the_network_explains")
    rows = smoothed(np.array(lines), np.array(kept), momentum)
    inverse = np.stack([_on(row, picture) for row, picture in zip(rows, maps, strict=True)])
    valid = inverse > np.array(nearest)[:, None, None]
    return DepthMap(
        frame=np.array(kept, dtype=np.int64),
        z=(1 / np.where(valid, inverse, 1)).astype(np.float32),
        valid=valid,
        scale=annotation.trajectory.scale,
    )


def _on(line: Array, picture: Image) -> Array:
    return line[0] * np.nan_to_num(picture.astype(np.float64), nan=-np.inf) + line[1]
