"""Clips into frames: discovery, decoding by true timestamps, and H.264 encoding.

    discover(paths) -> Discovery -> identify(found) -> ClipFile -> open_source(file, config) -> FrameSource

Importing this package loads no decoder; `open_source` imports the one that the config names.
"""

from wmkit.errors import InputError
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
