"""Clips into frames: discovery, decoding by true timestamps, and H.264 encoding.

    discover(paths) -> Discovery -> identify(found) -> ClipFile -> open_source(file, config) -> FrameSource

`undistorted(frames, lens, pinhole)` is how frames of a lens are delivered, and `open_view(file, config, view)` the one
way to the frames of an annotation again, undistorted if they were.

Importing this package loads no decoder; `open_source` imports the one that the config names.
"""

import numpy as np

from wmkit.camera import Intrinsics, Lens
from wmkit.clip import SourceView
from wmkit.errors import ClipError, InputError
from wmkit.video.discover import Discovery, FoundClip, Skipped, clip_id_of, content_hash, discover, identify
from wmkit.video.frames import (
    WINDOW_FRAMES,
    ClipFile,
    DecodeFacts,
    DecodeLimits,
    Decoder,
    FrameSource,
    FrameWindow,
    VideoConfig,
)

__all__ = [
    "DECODERS",
    "WINDOW_FRAMES",
    "ClipFile",
    "DecodeFacts",
    "DecodeLimits",
    "Decoder",
    "Discovery",
    "FoundClip",
    "FrameSource",
    "FrameWindow",
    "Skipped",
    "VideoConfig",
    "clip_id_of",
    "content_hash",
    "discover",
    "identify",
    "make_decoder",
    "open_source",
    "open_view",
    "undistorted",
]

DECODERS = ("pyav", "opencv", "decord", "torchcodec")


def make_decoder(name: str, file: ClipFile) -> Decoder:
    """The decoder for `file`: `name` for a video, the image reader for a folder.

    Raises InputError for an unknown name or a package that is not installed.
    """
    if file.images:
        from wmkit.video.images import ImagesDecoder

        return ImagesDecoder()
    if name == "pyav":
        from wmkit.video.pyav import PyavDecoder

        return PyavDecoder()
    if name == "opencv":
        from wmkit.video.opencv import OpencvDecoder

        return OpencvDecoder()
    if name == "decord":
        from wmkit.video.decord import DecordDecoder

        return DecordDecoder()
    if name == "torchcodec":
        from wmkit.video.torchcodec import TorchcodecDecoder

        return TorchcodecDecoder()
    raise InputError(f"--decoder: expected one of {', '.join(DECODERS)}, got {name!r}")


def open_source(file: ClipFile, config: VideoConfig) -> FrameSource:
    """Index one clip and return its re-iterable frames.

    Raises ClipError("decode", code) when the clip cannot be used and InputError for an unusable decoder.
    """
    decoder = make_decoder(config.decoder, file)
    from wmkit.video.source import DecodedSource  # here: it loads cv2

    return DecodedSource(file, config, decoder)


def undistorted(frames: FrameSource, lens: Lens, pinhole: Intrinsics) -> FrameSource:
    """The frames of `frames`, which `lens` took, as `pinhole` shows them; their view says so.

    Raises InputError when sizes differ, the frames are undistorted already, or the pinhole sees beyond the picture.
    """
    from wmkit.video.undistort import UndistortedSource  # here: it loads cv2

    return UndistortedSource(frames, lens, pinhole)


def open_view(file: ClipFile, config: VideoConfig, view: SourceView) -> FrameSource:
    """The frames that `view` tells of, from their source again: same size, same pts, undistorted if they were.

    Raises ClipError("decode", code), code `other_frames` when the source gives other ones with this config.
    """
    frames = open_source(file, config)
    now = frames.view
    if (view.width, view.height) != (now.width, now.height) or not np.array_equal(view.pts_s, now.pts_s):
        message = f"{file.name}: expected {len(view)} frames of {view.width}x{view.height} px at their times again"
        raise ClipError("decode", "other_frames", f"{message}, got others; use the config it was annotated with")
    if view.lens is None or view.pinhole is None:
        return frames
    return undistorted(frames, view.lens, view.pinhole)
