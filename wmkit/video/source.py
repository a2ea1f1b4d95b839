"""The concrete FrameSource: picks frames by timestamp, makes them upright and square, shrinks, cuts into windows."""

import dataclasses
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.clip import Clip, SourceView
from wmkit.errors import ClipError, InputError
from wmkit.video.container_tags import container_tags
from wmkit.video.frames import WINDOW_FRAMES, ClipFile, DecodeFacts, Decoder, FrameWindow, VideoConfig
from wmkit.video.guard import STAGE, check_pixels

__all__ = ["DecodedSource", "output_size", "select_frames", "upright"]

# Rates closer than this are the same rate: it covers the NTSC pairs (24 and 23.976: 0.1 %) and the rounding of
# timestamps to milliseconds, and sampling would only punch one double gap in a hundred frames or more.
_SAME_RATE = 0.01

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class DecodedSource:
    """`FrameSource` over any `Decoder`; `file` and `config` are all it needs to be made again elsewhere."""

    __slots__ = ("_clip", "_config", "_decoder", "_facts", "_file", "_index", "_keep", "_view")

    def __init__(self, file: ClipFile, config: VideoConfig, decoder: Decoder) -> None:
        """Runs the index pass; raises ClipError("decode", code), `too_few_frames` below 2 sound frames."""
        index = dataclasses.replace(decoder.index(file, config), tags=container_tags(file))
        inside = _inside(index, file)
        facts = dataclasses.replace(index, pts_s=index.pts_s[inside], corrupt=index.corrupt[inside])
        keep = select_frames(facts, config.fps)
        if np.count_nonzero(keep) < 2:
            damaged = np.count_nonzero(facts.corrupt)
            message = f"{file.name}: expected at least 2 frames, got {len(facts.pts_s)} of which {damaged} are damaged"
            raise ClipError(STAGE, "too_few_frames", message)
        upright_width, upright_height = facts.upright_size
        check_pixels(file.name, upright_width, upright_height, config.limits)
        width, height = output_size(upright_width, upright_height, config.max_side)
        if min(width, height) < 2:
            message = f"{file.name}: expected frames of at least 2x2 px, got {upright_width}x{upright_height}"
            raise ClipError(STAGE, "too_small", message)
        self._file, self._config, self._decoder = file, config, decoder
        self._facts, self._index, self._keep = facts, index, np.zeros(len(inside), dtype=np.bool_)
        self._keep[inside] = keep
        interval_s = float(np.median(np.diff(facts.pts_s)))
        self._clip = Clip(
            id=file.clip_id,
            source=file.name,
            span_s=(float(facts.pts_s[0]), float(facts.pts_s[-1]) + interval_s),
            width=upright_width,
            height=upright_height,
            fps=facts.native_fps,
        )
        self._view = SourceView(
            decoder=facts.decoder,
            decoded_width=facts.decoded_width,
            decoded_height=facts.decoded_height,
            rotation_deg=facts.rotation_deg,
            sample_aspect_ratio=facts.sample_aspect_ratio,
            width=width,
            height=height,
            pts_s=facts.pts_s[keep],
        )

    @property
    def file(self) -> ClipFile:
        """The clip on disk that these frames are decoded from."""
        return self._file

    @property
    def clip(self) -> Clip:
        """Identity, span, upright size before the resize, native mean rate."""
        return self._clip

    @property
    def facts(self) -> DecodeFacts:
        """What the index pass found in the clip's span, damaged frames included."""
        return self._facts

    @property
    def view(self) -> SourceView:
        """Size and source pts of the output frames."""
        return self._view

    def windows(self, size: int = WINDOW_FRAMES) -> Iterator[FrameWindow]:
        """See `FrameSource.windows`: decodes again on every call and holds one window of pixels."""
        if not 1 <= size <= WINDOW_FRAMES:
            raise InputError(f"window size: expected 1 to {WINDOW_FRAMES} frames, got {size}")
        return self._windows(size)

    def _windows(self, size: int) -> Iterator[FrameWindow]:
        view, time_s = self._view, self._view.time_s
        pictures = self._decoder.frames(self._file, self._config, self._index, self._keep)
        for start in range(0, len(view), size):
            stop = min(start + size, len(view))
            rgb = np.empty((stop - start, view.height, view.width, 3), dtype=np.uint8)
            for row in rgb:
                picture = next(pictures, None)
                if picture is None:
                    message = f"{self._file.name}: expected {len(view)} frames again, got fewer; do not edit it"
                    raise ClipError(STAGE, "file_changed", message)
                row[:] = upright(picture, self._facts.rotation_deg, (view.width, view.height))
            rgb.setflags(write=False)
            yield FrameWindow(start=start, rgb=rgb, time_s=time_s[start:stop])
        if next(pictures, None) is not None:  # also lets the decoder check its end and close
            raise ClipError(STAGE, "file_changed", f"{self._file.name}: expected {len(view)} frames again, got more")


def _inside(index: DecodeFacts, file: ClipFile) -> NDArray[np.bool_]:
    """(M,) bool: which source frames the clip's span holds; ClipError `empty_span` when none."""
    if file.span_s is None:
        return np.ones(len(index.pts_s), dtype=np.bool_)
    start_s, end_s = file.span_s
    after_s = index.pts_s - index.pts_s[0]
    inside = (after_s >= start_s) & (after_s < (np.inf if end_s is None else end_s))
    if not inside.any():
        message = f"{file.name}: expected frames from {start_s:g} s on, the source ends at {after_s[-1]:.3f} s"
        raise ClipError(STAGE, "empty_span", f"{message}; correct the span")
    return inside


def select_frames(facts: DecodeFacts, fps: float | None) -> NDArray[np.bool_]:
    """(M,) bool: which source frames are delivered.

    Damaged frames never are. A source no faster than `fps`, or `fps` None, delivers all others; else each time
    t0 + k / fps picks the nearest sound frame, and a frame picked twice counts once. So the output is never faster
    than either rate, holds real frames only and keeps their true times.
    """
    keep = ~facts.corrupt
    if fps is None or facts.native_fps <= fps * (1 + _SAME_RATE) or not keep.any():
        return keep
    sound = np.flatnonzero(keep)
    nearest = sound[_nearest(facts.pts_s[sound], fps)]
    keep = np.zeros(len(facts.pts_s), dtype=np.bool_)
    keep[nearest] = True
    return keep


def _nearest(pts_s: Array, fps: float) -> NDArray[np.intp]:
    """Index into increasing `pts_s` (M,) of the nearest entry to each grid time; the earlier one on a tie."""
    count = int(np.floor((pts_s[-1] - pts_s[0]) * fps + 0.5)) + 1
    grid_s = pts_s[0] + np.arange(count) / fps
    right = np.clip(np.searchsorted(pts_s, grid_s), 1, len(pts_s) - 1) if len(pts_s) > 1 else np.zeros(count, np.intp)
    left = np.maximum(right - 1, 0)
    return np.where(grid_s - pts_s[left] <= pts_s[right] - grid_s, left, right)


def output_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """(width, height) px after shrinking the long side to `max_side`; never enlarged, never below 2 px by shrinking."""
    long_side = max(width, height)
    if long_side <= max_side:
        return width, height
    return tuple(max(min(2, side), round(side * max_side / long_side)) for side in (width, height))  # type: ignore[return-value]


def upright(picture: NDArray[np.uint8], rotation_deg: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A stored RGB picture turned clockwise by `rotation_deg` and resampled once to `size` (width, height) px.

    One resize does both the sample aspect ratio and the shrinking, with the area filter; a ratio above 1 that is
    not shrunk away stretches one side, bilinearly.
    """
    if rotation_deg:
        picture = cv2.rotate(picture, _TURNS[rotation_deg])  # type: ignore[assignment]
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    shrinks = size[0] <= width and size[1] <= height
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)  # type: ignore[return-value]
