"""A known length in the picture: both ends clicked in one frame, or in several.

In several frames each end is triangulated from the clicks. In one, its depth is that of the sparse points around it,
a plane in inverse depth, as a flat surface is one there. Pixels are those of the output frames, (0, 0) the corner.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import ScaleCue, Unmeasured
from wmkit.annotate.scale.measure import SHAPE_SIGMA, parse_length
from wmkit.camera import Array, ScaleVote
from wmkit.clip import Annotation
from wmkit.errors import InputError
from wmkit.video.frames import ClipFile

__all__ = ["Click", "ObjectLengthConfig", "parse_object"]

DEFAULT_SIGMA = 0.02  # relative, of a length someone measured or looked up
CLICK_PX = 2.0  # sigma of one coordinate of one click
NEAR = 0.06  # of the picture's longer side: sparse points this close to a click tell its depth
MIN_POINTS = 6
MAX_SIGMA_LOG = 0.3
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_VIEW = re.compile(rf"(\d+):{_NUMBER},{_NUMBER}-{_NUMBER},{_NUMBER}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """Both ends of the object in one output frame, px."""

    frame: int
    start_px: tuple[float, float]
    end_px: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLengthConfig:
    """An object of `metres` from end to end; `sigma` is relative; one click pair a frame, in one frame or more."""

    clicks: tuple[Click, ...]
    metres: float
    sigma: float = DEFAULT_SIGMA
    click_px: float = CLICK_PX
    name: ClassVar[str] = "object_length"
    licence: ClassVar[str] = "Apache-2.0"

    def __post_init__(self) -> None:
        frames = [click.frame for click in self.clicks]
        if not frames or len(set(frames)) < len(frames) or min(frames) < 0:
            raise InputError(f"--object: expected one pair of ends in each of one or more frames, got frames {frames}")
        if not (np.isfinite(self.metres) and self.metres > 0 and 0 <= self.sigma < 1 and self.click_px > 0):
            raise InputError(f"--object: expected positive metres and a sigma in [0, 1), got {self.metres}")

    def build(self, device: str) -> ScaleCue:
        """The cue; `device` is not used."""
        return _ObjectLength(self)


def parse_object(text: str) -> ObjectLengthConfig:
    """`FRAME:X,Y-X,Y=METRES`, more frames after `;`, and a sigma as `METRES±SIGMA`; InputError for anything else."""
    views, _, length = text.rpartition("=")
    matches = [_VIEW.fullmatch(part.strip()) for part in views.split(";")]
    if any(match is None for match in matches):
        raise InputError(f"--object: expected FRAME:X0,Y0-X1,Y1[;FRAME:...]=METRES[±SIGMA], got {text!r}")
    metres, sigma = parse_length(length, "--object", DEFAULT_SIGMA)
    clicks = tuple(
        Click(
            frame=int(match[1]), start_px=(float(match[2]), float(match[3])), end_px=(float(match[4]), float(match[5]))
        )
        for match in matches
        if match is not None
    )
    if any(click.start_px == click.end_px for click in clicks):
        raise InputError(f"--object: expected two different pixels, the ends of the object, got {text!r}")
    return ObjectLengthConfig(clicks=clicks, metres=metres, sigma=sigma)


@dataclass(frozen=True, slots=True)
class _ObjectLength:
    config: ObjectLengthConfig

    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        trajectory, clicks = annotation.trajectory, self.config.clicks
        if trajectory is None:
            return Unmeasured(reason="no_trajectory")
        last = max(click.frame for click in clicks)
        if last >= len(trajectory):
            return Unmeasured(reason=f"no_frame_{last}")
        if not trajectory.posed[[click.frame for click in clicks]].all():
            return Unmeasured(reason="object_frame_not_posed")
        locate = _triangulated if len(clicks) > 1 else _beside_points
        start, end = (
            locate(
                annotation, [(click.frame, np.array(getattr(click, side))) for click in clicks], self.config.click_px
            )
            for side in ("start_px", "end_px")
        )
        if isinstance(start, Unmeasured):
            return start
        if isinstance(end, Unmeasured):
            return end
        apart = end[0] - start[0]
        length = float(np.linalg.norm(apart))
        if not (np.isfinite(length) and length > 0):
            return Unmeasured(reason="object_of_no_length")
        along = apart / length
        spread = float(np.sqrt(max(along @ (start[1] + end[1]) @ along, 0.0))) / length
        sigma_log = float(np.sqrt(spread**2 + self.config.sigma**2 + SHAPE_SIGMA**2))
        if not sigma_log <= MAX_SIGMA_LOG:
            return Unmeasured(reason="object_length_too_uncertain")
        return ScaleVote(cue=ObjectLengthConfig.name, value=self.config.metres / length, sigma_log=sigma_log)


Located = tuple[Array, Array]  # point (3,) in the world and its covariance (3, 3), trajectory units
Seen = list[tuple[int, Array]]  # frame and px


def _triangulated(annotation: Annotation, seen: Seen, click_px: float) -> Located | Unmeasured:
    """The point whose projections are nearest to the clicks: linear start, Gauss-Newton."""
    assert annotation.trajectory is not None
    cam_from_world = annotation.trajectory.cam_from_world
    views = [(cam_from_world[frame], annotation.intrinsics[frame], px) for frame, px in seen]
    rows = []
    for pose, camera, px in views:
        x, y = (px[0] - camera.cx) / camera.fx, (px[1] - camera.cy) / camera.fy
        rows += [x * pose[2] - pose[0], y * pose[2] - pose[1]]
    system = np.array(rows)
    point = np.linalg.lstsq(system[:, :3], -system[:, 3], rcond=None)[0]
    normal = np.eye(3)
    for _ in range(10):
        jacobian, residual = [], []
        for pose, camera, px in views:
            local = pose[:3, :3] @ point + pose[:3, 3]
            if local[2] <= 0:
                return Unmeasured(reason="object_behind_the_camera")
            focal = np.array([camera.fx, camera.fy])
            residual.append(px - focal * local[:2] / local[2] - (camera.cx, camera.cy))
            by_local = np.column_stack([np.diag(focal) / local[2], -focal * local[:2] / local[2] ** 2])
            jacobian.append(by_local @ pose[:3, :3])
        design = np.concatenate(jacobian)
        normal = design.T @ design
        if np.linalg.cond(normal) > 1e14:
            return Unmeasured(reason="object_frames_too_close")
        point = point + np.linalg.solve(normal, design.T @ np.concatenate(residual))
    return point, np.asarray(click_px**2 * np.linalg.inv(normal), dtype=np.float64)


def _beside_points(annotation: Annotation, seen: Seen, click_px: float) -> Located | Unmeasured:
    """The point behind one click at the depth that the sparse points around it say."""
    assert annotation.trajectory is not None
    if annotation.points is None:
        return Unmeasured(reason="no_points")
    (frame, px) = seen[0]
    camera = annotation.intrinsics[frame]
    pose = annotation.trajectory.cam_from_world[frame]
    local = annotation.points.xyz @ pose[:3, :3].T + pose[:3, 3]
    local = local[local[:, 2] > 0]
    place = local[:, :2] / local[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    near = NEAR * max(camera.width, camera.height)
    kept = np.linalg.norm(place - px, axis=1) < near
    if kept.sum() < MIN_POINTS:
        return Unmeasured(reason="no_points_beside_the_object")
    inverse, slope, sigma = _inverse_depth((place[kept] - px) / near, 1 / local[kept, 2])
    if not inverse > 0:
        return Unmeasured(reason="object_depth_unknown")
    world_from_cam = annotation.trajectory.world_from_cam[frame]
    ray = np.array([(px[0] - camera.cx) / camera.fx, (px[1] - camera.cy) / camera.fy, 1.0])
    point = ray / inverse
    moves = np.zeros((3, 3))  # columns: by each click coordinate, by the depth
    for axis, focal in enumerate((camera.fx, camera.fy)):
        moves[axis, axis] = click_px / focal / inverse
        moves[:, axis] -= point / inverse * slope[axis] * click_px / near
    moves[:, 2] = point / inverse * sigma
    covariance = world_from_cam[:3, :3] @ moves @ moves.T @ world_from_cam[:3, :3].T
    return world_from_cam[:3, :3] @ point + world_from_cam[:3, 3], covariance


def _inverse_depth(offset: Array, inverse: Array) -> tuple[float, Array, float]:
    """Value, slope (2,) and sigma of a plane a + b·x + c·y through `inverse` (K,) at offset 0; Tukey's biweight."""
    design = np.column_stack([np.ones(len(offset)), offset])
    state = np.array([np.median(inverse), 0.0, 0.0])
    spread, weight = 0.0, np.ones(len(inverse))
    ridge = np.diag([0.0, 1e-3, 1e-3]) * len(inverse)
    for _ in range(15):
        residual = inverse - design @ state
        spread = 1.4826 * float(np.median(np.abs(residual))) + 1e-9 * abs(state[0])
        weight = np.where(np.abs(residual) < 4.685 * spread, (1 - (residual / (4.685 * spread)) ** 2) ** 2, 0.0)
        normal = design.T @ (weight[:, None] * design) + ridge
        state = np.linalg.solve(normal, design.T @ (weight * inverse))
    residual = inverse - design @ state
    count = max(float(weight.sum()) - 3.0, 1.0)
    variance = float(weight @ residual**2) / count
    inverse_normal = np.linalg.inv(design.T @ (weight[:, None] * design) + ridge)
    return float(state[0]), np.asarray(state[1:], dtype=np.float64), float(np.sqrt(variance * inverse_normal[0, 0]))
