"""What the tests of annotate's parts stand on: annotations made by hand, frames in memory, a room traced exactly."""

import dataclasses
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wmkit.annotate.protocols import FootageFilterConfig
from wmkit.camera import Intrinsics, ScaleEstimate, ScaleKind, ScaleVote, Trajectory
from wmkit.clip import Annotation, Clip, NoTrajectory, Points, Provenance, SourceView, Verdict
from wmkit.video.frames import WINDOW_FRAMES, ClipFile, DecodeFacts, FrameSource, FrameWindow
from wmkit.video.picture import pictures

__all__ = [
    "NO_FILE",
    "ArraySource",
    "Plane",
    "annotation_of",
    "facts_of",
    "no_trajectory_of",
    "path_of",
    "points_of",
    "shown",
    "trace",
    "view_of",
]

NO_FILE = ClipFile(path="/nowhere/a.mp4", name="a.mp4", content_hash="0" * 64, clip_id="c0ffee")
PROVENANCE = Provenance(tool_version="0", config_hash="0", input_hash="0", seed=0, backends=())


def view_of(time_s: Sequence[float] | NDArray[np.float64], width: int = 64, height: int = 48) -> SourceView:
    """Frames of `width` x `height` px at `time_s`, decoded as they are."""
    return SourceView(
        decoder="array",
        decoded_width=width,
        decoded_height=height,
        rotation_deg=0,
        sample_aspect_ratio=1.0,
        width=width,
        height=height,
        pts_s=np.asarray(time_s, dtype=np.float64),
    )


def clip_of(view: SourceView, clip_id: str = "c0ffee") -> Clip:
    """The clip of a view at 10 frames a second."""
    end_s = float(view.pts_s[-1]) + 0.1
    return Clip(id=clip_id, source="a.mp4", span_s=(0.0, end_s), width=view.width, height=view.height, fps=10.0)


def facts_of(view: SourceView) -> DecodeFacts:
    """Decode facts of a sound file with the view's frames."""
    return DecodeFacts(
        decoder="array",
        codec="none",
        pixel_format="rgb24",
        decoded_width=view.width,
        decoded_height=view.height,
        rotation_deg=0,
        sample_aspect_ratio=1.0,
        pts_s=view.pts_s,
        corrupt=np.zeros(len(view), dtype=np.bool_),
    )


class ArraySource:
    """A FrameSource over frames (N, h, w, 3) in memory."""

    def __init__(self, rgb: NDArray[np.uint8], fps: float = 10.0) -> None:
        self.rgb = rgb
        self.file = NO_FILE
        self.view = view_of(np.arange(len(rgb)) / fps, rgb.shape[2], rgb.shape[1])
        self.clip = clip_of(self.view)
        self.facts = facts_of(self.view)
        self.passes = 0

    def windows(self, size: int = WINDOW_FRAMES) -> Iterator[FrameWindow]:
        """The frames in order; counts how often they were asked for."""
        self.passes += 1
        for start in range(0, len(self.rgb), size):
            part = slice(start, start + size)
            yield FrameWindow(start=start, rgb=self.rgb[part], time_s=self.view.time_s[part])


def shown(config: FootageFilterConfig, source: FrameSource) -> Verdict:
    """What a footage filter says of a source after it saw every frame."""
    built = config.build("cpu")
    for picture in pictures(source):
        built.see(picture)
    return built.verdict(source.facts)


def path_of(position: ArrayLike, rotation: NDArray | None = None, posed: Sequence[bool] | None = None) -> NDArray:
    """world_from_cam (N, 4, 4) of camera centres (N, 3) and rotations (N, 3, 3); NaN where not `posed`."""
    position = np.asarray(position, dtype=np.float64)
    world_from_cam = np.tile(np.eye(4), (len(position), 1, 1))
    world_from_cam[:, :3, 3] = position
    if rotation is not None:
        world_from_cam[:, :3, :3] = rotation
    if posed is not None:
        world_from_cam[~np.asarray(posed)] = np.nan
    return world_from_cam


def points_of(xyz: NDArray, error_px: float = 0.5, track_length: int = 4) -> Points:
    """Points that are all seen equally well."""
    count = len(xyz)
    return Points(
        xyz=np.asarray(xyz, dtype=np.float64),
        rgb=np.zeros((count, 3), dtype=np.uint8),
        error_px=np.full(count, error_px, dtype=np.float32),
        track_length=np.full(count, track_length, dtype=np.int32),
    )


def annotation_of(
    world_from_cam: NDArray,
    points: Points | None = None,
    camera: Intrinsics | None = None,
    metric: bool = False,
    clip_id: str = "c0ffee",
    fps: float = 10.0,
) -> Annotation:
    """An annotation at `fps` frames a second; a row that starts with NaN is unposed."""
    camera = camera or Intrinsics.from_fov(60.0, 64, 48)
    view = view_of(np.arange(len(world_from_cam)) / fps, camera.width, camera.height)
    exact = ScaleEstimate(value=1.0, low=1.0, high=1.0, votes=(ScaleVote(cue="test", value=1.0, sigma_log=0.0),))
    trajectory = Trajectory(
        world_from_cam=world_from_cam,
        time_s=view.time_s,
        posed=np.isfinite(world_from_cam[:, 0, 0]),
        scale=ScaleKind.METRIC if metric else ScaleKind.UP_TO_SCALE,
    )
    return Annotation(
        clip=clip_of(view, clip_id),
        view=view,
        verdicts=(),
        provenance=PROVENANCE,
        trajectory=trajectory,
        intrinsics=(camera,) * len(trajectory),
        points=points,
        scale=exact if metric else None,
    )


def no_trajectory_of(reason: str = "static") -> Annotation:
    """An annotation whose pose stage gave up."""
    view = view_of([0.0, 0.1])
    missing = NoTrajectory(reason=reason, detail="made by hand")
    return Annotation(clip=clip_of(view), view=view, verdicts=(), provenance=PROVENANCE, no_trajectory=missing)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plane:
    """A textured rectangle: points corner + a·along + b·across with a, b in [0, 1]; grey (0 to 255) of `texture`."""

    corner: tuple[float, float, float]
    along: tuple[float, float, float]
    across: tuple[float, float, float]
    texture: NDArray[np.float32]


def trace(planes: Sequence[Plane], camera: Intrinsics, world_from_cam: NDArray) -> tuple[NDArray[np.uint8], NDArray]:
    """(rgb (h, w, 3), z (h, w)) of one camera, one ray a pixel through its centre; z is infinite where nothing is."""
    y, x = np.mgrid[0 : camera.height, 0 : camera.width]
    ray = np.stack([(x + 0.5 - camera.cx) / camera.fx, (y + 0.5 - camera.cy) / camera.fy, np.ones(x.shape)], axis=-1)
    ray = ray @ world_from_cam[:3, :3].T
    origin = world_from_cam[:3, 3]
    gray, depth = np.zeros(x.shape, dtype=np.float32), np.full(x.shape, np.inf)
    for plane in planes:
        along, across = np.array(plane.along), np.array(plane.across)
        normal = np.cross(along, across)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = ((np.array(plane.corner) - origin) @ normal) / (ray @ normal)  # ray has z = 1 in the camera: z-depth
            offset = origin + ray * z[..., None] - np.array(plane.corner)
        a, b = offset @ along / (along @ along), offset @ across / (across @ across)
        hit = (z > 1e-6) & (z < depth) & (a >= 0) & (a <= 1) & (b >= 0) & (b <= 1)
        size = plane.texture.shape[::-1]
        u, v = (np.nan_to_num(a * size[0] - 0.5), np.nan_to_num(b * size[1] - 0.5))
        colour = cv2.remap(
            plane.texture,
            np.clip(u, -1e4, 1e4).astype(np.float32),
            np.clip(v, -1e4, 1e4).astype(np.float32),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        gray[hit], depth[hit] = colour[hit], z[hit]
    byte = np.clip(np.rint(gray), 0, 255).astype(np.uint8)
    return np.repeat(byte[..., None], 3, axis=-1), depth
