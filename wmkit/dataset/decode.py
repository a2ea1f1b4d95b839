"""A sample's parts as arrays: checked cameras, decoded frames, frames made to fit a size with their cameras."""

import io
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from wmkit.atomic import HEADER_LOCK
from wmkit.camera import Array, Intrinsics
from wmkit.dataset.schema import Folder, Sample, read_part
from wmkit.errors import CorruptShardError

__all__ = ["as_video", "count_frames", "cover", "decode_frames", "fit_cameras", "fit_frames", "load_array"]


def load_array(
    folder: Folder, sample: Sample, name: str, shape: tuple[int, ...], *, check: bool = True, alone: bool = False
) -> Array:
    """A float64 array part, checked against `shape`; CorruptShardError when it is none or has another one.

    `check`: its bytes are held against the index first. `alone`: see `part_bytes`.
    """
    data = read_part(folder, sample, name, check=check, alone=alone)
    try:
        with HEADER_LOCK:
            array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptShardError(f"{sample.shard}: expected {sample.key}.{name} to be an array, got {error}") from None
    if array.shape != shape or array.dtype != np.float64:
        got = f"{array.dtype} {array.shape}"
        raise CorruptShardError(f"{sample.shard}: expected {sample.key}.{name} as float64 {shape}, got {got}")
    return array


def decode_frames(
    folder: Folder, sample: Sample, start: int, count: int, stride: int = 1, *, check: bool = True
) -> NDArray[np.uint8]:
    """(count, height, width, 3) RGB of every `stride`-th frame; CorruptShardError when the mp4 does not hold them.

    Frames are counted by their place in presentation order; decoding begins at the last keyframe that is not later.
    `check`: the mp4's bytes are held against the index first.
    """
    data = read_part(folder, sample, "mp4", check=check)
    rgb = np.empty((count, sample.height, sample.width, 3), dtype=np.uint8)
    found = 0
    try:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            stream = container.streams.video[0]
            timed = [(packet.pts, packet) for packet in container.demux(stream) if packet.pts is not None]
            every = sorted(pts for pts, packet in timed if not packet.is_discard)
            shown = every[start : start + (count - 1) * stride + 1 : stride]
            if len(shown) == count:
                first = max(i for i, (pts, packet) in enumerate(timed) if packet.is_keyframe and pts <= shown[0])
                found = _decode_into(rgb, [packet for _, packet in timed[first:]], stream, shown)
    except (FFmpegError, IndexError, ValueError) as error:
        raise CorruptShardError(f"{sample.shard}: expected {sample.key}.mp4 to decode, got {error}") from None
    if found != count:
        raise CorruptShardError(
            f"{sample.shard}: expected {sample.frames} frames of {sample.width}x{sample.height} px in {sample.key}.mp4"
            f", got {found} of frames {start} to {start + (count - 1) * stride}"
        )
    return rgb


def _decode_into(rgb: NDArray[np.uint8], packets: list[Packet], stream: VideoStream, shown: list[int]) -> int:
    """Fill `rgb` with the frames of these increasing pts; how many there were. `packets` begin with a keyframe.

    ValueError for a frame of another size.
    """
    # One for all frames: a frame's own would be made, and its tables with it, for each.
    reformatter, wanted, found = VideoReformatter(), set(shown), 0
    for packet in (*packets, None):  # None flushes the decoder
        for frame in stream.codec_context.decode(packet):
            if frame.pts in wanted:
                _copy_rgb(rgb[found], reformatter.reformat(frame, format="rgb24"))
                found += 1
                if frame.pts == shown[-1]:
                    return found
    return found


def _copy_rgb(row: NDArray[np.uint8], frame: VideoFrame) -> None:
    """The pixels of an rgb24 frame into (height, width, 3), without the copy that `to_ndarray` makes before."""
    height, width, _ = row.shape
    if (frame.height, frame.width) != (height, width):
        raise ValueError(f"a frame of {frame.width}x{frame.height} px")
    plane: Any = frame.planes[0]  # a buffer, which its type does not say
    lines = np.frombuffer(plane, dtype=np.uint8).reshape(height, plane.line_size)
    row[...] = lines[:, : 3 * width].reshape(height, width, 3)


def fit_frames(rgb: NDArray[np.uint8], cameras: Array, width: int, height: int) -> tuple[NDArray[np.uint8], Array]:
    """Frames (T, h, w, 3) resized to cover `width` x `height` px, centre-cropped; cameras (T, 4) follow.

    The area filter shrinks, the bilinear one enlarges; both keep [0, w) on [0, w'), as `Intrinsics.resized` does.
    """
    h, w = rgb.shape[1:3]
    size, left, top = cover(w, h, width, height)
    if size != (w, h):
        how = cv2.INTER_AREA if size[0] < w else cv2.INTER_LINEAR
        rgb = np.stack([cv2.resize(frame, size, interpolation=how) for frame in rgb])
    return rgb[:, top : top + height, left : left + width], fit_cameras(cameras, (w, h), (width, height))


def as_video(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Frames (T, h, w, 3) as (T, 3, h, w) in [-1, 1], the pixels of models."""
    return rgb.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)


def fit_cameras(cameras: Array, was: tuple[int, int], fit: tuple[int, int]) -> Array:
    """Cameras (N, 4) of frames of `was` px as those of what `fit_frames` makes of them; sizes (width, height)."""
    size, left, top = cover(*was, *fit)
    rows = [Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy, width=was[0], height=was[1]) for fx, fy, cx, cy in cameras.tolist()]
    moved = np.array([row.resized(*size).row for row in rows]).reshape(-1, 4)
    return moved - np.array([0, 0, left, top], dtype=np.float64)


def cover(w: int, h: int, width: int, height: int) -> tuple[tuple[int, int], int, int]:
    """(width, height) px that w x h px are resized to, and left and top of the crop of `width` x `height` in it."""
    factor = max(width / w, height / h)
    size = (max(width, round(w * factor)), max(height, round(h * factor)))
    return size, (size[0] - width) // 2, (size[1] - height) // 2


def count_frames(folder: Folder, sample: Sample) -> int:
    """How many frames of the mp4 decode, all of the index's size; CorruptShardError when one does not."""
    data = read_part(folder, sample, "mp4")
    count = 0
    try:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            for frame in container.decode(video=0):
                if (frame.width, frame.height) != (sample.width, sample.height):
                    raise ValueError(f"a frame of {frame.width}x{frame.height} px")
                count += 1
    except (FFmpegError, IndexError, ValueError) as error:
        raise CorruptShardError(f"{sample.shard}: expected {sample.key}.mp4 to decode, got {error}") from None
    return count
