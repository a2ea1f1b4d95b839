"""Pictures on the page: thumbnails taken from the source again, and a colour-mapped depth map, as data URIs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.clip import Annotation, DepthMap
from wmkit.errors import ClipError, InputError
from wmkit.video import ClipFile, FrameSource, VideoConfig, discover, identify, open_view
from wmkit.video.still import jpeg_bytes, shrunk

__all__ = ["DepthPreview", "Sheet", "Thumbnail", "contact_sheet", "depth_preview", "turbo"]

THUMBNAILS = 8
THUMBNAIL_PX = 192  # long side; a card shows them at 90 to 150 CSS px
DEPTH_PX = 320
JPEG_QUALITY = 80
DEPTH_SPAN = (2, 98)  # percentiles of valid depth that the colours span: single wild pixels do not bleach the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """One output frame: its index, time, data URI and size in px."""

    frame: int
    time_s: float
    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Thumbnails in time order, none when the source cannot give them; `problem` then says why.

    at_depth  the frame that the depth preview shows, as large as that preview, if it was asked for.
    """

    thumbnails: tuple[Thumbnail, ...] = ()
    at_depth: Thumbnail | None = None
    problem: str = ""


def contact_sheet(
    annotation: Annotation, paths: Sequence[str], config: VideoConfig, depth_frame: int | None = None
) -> Sheet:
    """At most 8 evenly spread frames, decoded from the first of `paths` that still holds the clip.

    Costs one index pass and one pass up to the last thumbnail; holds one window of pixels.
    """
    problems = []
    for path in paths:
        try:
            frames = _reopened(annotation, path, config)
            return _sheet(frames, depth_frame)
        except (ClipError, InputError) as error:
            problems.append(error.message if isinstance(error, ClipError) else str(error))
    return Sheet(problem=problems[0] if problems else "no source of this clip is listed in sources.parquet")


def _reopened(annotation: Annotation, path: str, config: VideoConfig) -> FrameSource:
    """The same frames as annotated; InputError or ClipError says what is different now."""
    file = _found_again(path)
    if file.clip_id != annotation.clip.id:
        raise InputError("the source was changed since it was annotated")
    try:
        return open_view(file, config, annotation.view)
    except ClipError as error:
        if error.code == "other_frames":
            raise InputError("the clip was annotated with other video settings than the corpus now has") from error
        raise


def _found_again(path: str) -> ClipFile:
    if not Path(path).exists():
        raise InputError("the source is gone from the path below")
    for found in discover([path]).clips:
        if found.path == path:
            return identify(found)
    raise InputError("the source is no longer a clip")


def _sheet(frames: FrameSource, depth_frame: int | None) -> Sheet:
    count = len(frames.view)
    shown = min(count, THUMBNAILS)
    chosen = [(2 * index + 1) * count // (2 * shown) for index in range(shown)]  # middles of equal spans
    left = {*chosen, *(() if depth_frame is None else (depth_frame,))}
    made: dict[int, Thumbnail] = {}
    at_depth = None
    for window in frames.windows():
        for index in sorted(left):
            if window.start <= index < window.start + len(window.rgb):
                rgb = window.rgb[index - window.start]
                time_s = float(window.time_s[index - window.start])
                if index in chosen:
                    made[index] = _thumbnail(index, time_s, rgb, THUMBNAIL_PX)
                if index == depth_frame:
                    at_depth = _thumbnail(index, time_s, rgb, DEPTH_PX)
                left.discard(index)
        if not left:
            break
    return Sheet(thumbnails=tuple(made[index] for index in chosen), at_depth=at_depth)


def _thumbnail(frame: int, time_s: float, rgb: NDArray[np.uint8], side_px: int) -> Thumbnail:
    small = shrunk(rgb, side_px)
    return Thumbnail(
        frame=frame, time_s=time_s, uri=_jpeg_uri(small), width=int(small.shape[1]), height=int(small.shape[0])
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthPreview:
    """The middle depth map, near red, far blue, log-spaced; invalid pixels are a grey hatch.

    low, high    z at the ends of the colours, in the annotation's unit.
    valid_share  of its pixels; maps is how many depth maps the clip has.
    """

    uri: str
    frame: int
    width: int
    height: int
    low: float
    high: float
    valid_share: float
    maps: int


def depth_preview(depth: DepthMap) -> DepthPreview | None:
    """Picture of the middle map; None when not one of its pixels is valid."""
    middle = len(depth.frame) // 2
    z, valid = depth.z[middle], depth.valid[middle]
    if not valid.any():
        return None
    low, high = (float(value) for value in np.percentile(z[valid], DEPTH_SPAN))
    span = np.log(high / low) if high > low else 1.0
    share = np.log(np.where(valid, z, low) / low) / span
    picture = turbo(1 - np.clip(share, 0, 1))
    y, x = np.indices(valid.shape)
    hatch = np.where((x + y) % 8 < 4, np.uint8(150), np.uint8(120))
    picture = shrunk(np.where(valid[:, :, None], picture, hatch[:, :, None]), DEPTH_PX)
    return DepthPreview(
        uri=_jpeg_uri(picture),
        frame=int(depth.frame[middle]),
        width=int(picture.shape[1]),
        height=int(picture.shape[0]),
        low=low,
        high=high,
        valid_share=float(valid.mean()),
        maps=len(depth.frame),
    )


def turbo(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(h, w, 3) RGB of values (h, w) in [0, 1] in the Turbo colour map (Mikhailov 2019)."""
    bgr = cv2.applyColorMap(np.round(share * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    return np.ascontiguousarray(np.asarray(bgr, dtype=np.uint8)[:, :, ::-1])


def _jpeg_uri(rgb: NDArray[np.uint8]) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_bytes(rgb, JPEG_QUALITY)).decode("ascii")
