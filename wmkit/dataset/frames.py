"""A clip's frames derived again from its source and put into an mp4, with cameras that fit those very pixels."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array
from wmkit.dataset.decode import fit_frames
from wmkit.video import FrameSource
from wmkit.video.encode import write_mp4

__all__ = ["CRF", "GOP", "copy_refusal", "encode_clip", "even_size", "mean_rate"]

CRF = 18
GOP = 16  # frames: a crop from the middle of a clip decodes at most this many that it does not want


def even_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) px without the last column or row that 4:2:0 has no room for.

    A crop at the right and bottom leaves every pixel and fx, fy, cx, cy as they are; a resize by one pixel would not.
    """
    return width - width % 2, height - height % 2


def mean_rate(time_s: Array) -> Fraction:
    """Frames a second from the first to the last of at least two frames, with a denominator H.264 players know."""
    rate = Fraction(float((len(time_s) - 1) / (time_s[-1] - time_s[0]))).limit_denominator(1001)
    return max(rate, Fraction(1, 1001))


def encode_clip(frames: FrameSource, path: Path, fit: tuple[int, int] | None = None) -> int:
    """Write every output frame of the clip to `path` as H.264; how many there were.

    fit  (width, height) px, even, that each frame is made to cover and cropped to; None: cropped to an even size.

    Raises ClipError when the source no longer decodes to them, InputError when the disk or the encoder refuses.
    """
    size = fit or even_size(frames.view.width, frames.view.height)
    pictures = _pictures(frames, size) if fit is None else _fitted(frames, fit)
    return write_mp4(path, pictures, mean_rate(frames.view.time_s), size, crf=CRF, gop=GOP)


def copy_refusal(frames: FrameSource, head: bytes) -> str | None:
    """Why the source file itself cannot stand for the output frames, None when it can: every transform is identity.

    `head` is the file's first 12 bytes, at least.
    """
    view, facts = frames.view, frames.facts
    if frames.file.span_s is not None:
        return "it is a part of its source"
    if head[4:8] != b"ftyp" or facts.codec != "h264":
        return f"its codec is {facts.codec}" if head[4:8] == b"ftyp" else "it is no mp4"
    if view.rotation_deg:
        return f"it is turned by {view.rotation_deg} degrees"
    if view.sample_aspect_ratio != 1:
        return f"its pixels are not square ({view.sample_aspect_ratio:g})"
    if view.lens is not None:
        return "its lens was undistorted"
    if (view.width, view.height) != (view.decoded_width, view.decoded_height):
        stored = f"{view.decoded_width}x{view.decoded_height}"
        return f"its {stored} px were resized to {view.width}x{view.height}"
    if len(view) != len(facts.pts_s):
        return f"{len(view)} of its {len(facts.pts_s)} frames were annotated"
    return None


def _fitted(frames: FrameSource, fit: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    for window in frames.windows():
        yield from fit_frames(window.rgb, np.zeros((0, 4)), *fit)[0]


def _pictures(frames: FrameSource, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    for window in frames.windows():
        for rgb in window.rgb:
            yield np.ascontiguousarray(rgb[: size[1], : size[0]])
