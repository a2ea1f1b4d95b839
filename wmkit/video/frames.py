"""Types every decoder speaks: what to decode, what was found, and a re-iterable stream of upright frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from wmkit.camera import Array, frozen_array
from wmkit.clip import Clip, SourceView
from wmkit.errors import InputError
from wmkit.video.reference import Span

__all__ = [
    "UNTIMED",
    "WINDOW_FRAMES",
    "ClipFile",
    "DecodeFacts",
    "DecodeLimits",
    "Decoder",
    "FrameSource",
    "FrameWindow",
    "VideoConfig",
]

WINDOW_FRAMES = 64
UNTIMED = "no timestamps in the file"
"""How a note among `DecodeFacts.errors` begins that tells of no damage: a raw stream was timed by its stated rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFile:
    """One clip found on disk: a video file or a folder of images; the only thing workers are sent.

    path          absolute path of the file or folder; the URL of a remote file until `local_copy` has fetched it.
    name          path below the input root, posix separators.
    content_hash  sha256 of the file's bytes, or over (name, bytes) of a folder's images.
    clip_id       first 32 hex digits of sha256(content_hash, span).
    images        file names inside the folder, in time order; empty for a video file.
    span_s        half-open part of the source, seconds from its first frame; end None: to its end. None: all of it.
    given         what a manifest says of this clip alone, as canonical JSON; "" when nothing.
    """

    path: str
    name: str
    content_hash: str
    clip_id: str
    images: tuple[str, ...] = ()
    span_s: Span | None = None
    given: str = ""

    @property
    def end_s(self) -> float | None:
        """Where decoding may stop, seconds from the first frame; None: at the end."""
        return None if self.span_s is None else self.span_s[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """What an untrusted file may cost before it becomes a ClipError."""

    max_pixels: int = 8192 * 8192
    max_source_frames: int = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoConfig:
    """How frames are delivered.

    decoder   one of `wmkit.video.DECODERS`.
    fps       frames a second, sampled by timestamp and never faster than the native rate; None is every frame.
    max_side  px: longer images are shrunk (area filter) to this long side; never enlarged.
    image_fps frames a second of an image folder: time = index / image_fps.
    """

    decoder: str = "pyav"
    fps: float | None = 16.0
    max_side: int = 960
    image_fps: float = 16.0
    limits: DecodeLimits = DecodeLimits()

    def __post_init__(self) -> None:
        if self.fps is not None and not (np.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"--fps: expected a positive number or 'native', got {self.fps}")
        if not (np.isfinite(self.image_fps) and self.image_fps > 0):
            raise InputError(f"--image-fps: expected a positive number, got {self.image_fps}")
        if self.max_side < 16:
            raise InputError(f"--max-side: expected at least 16 px, got {self.max_side}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodeFacts:
    """What one full sequential decode of the source found, before any sampling.

    pts_s        (M,) float64: presentation times of every frame that decodes, in the source's own seconds,
                 increasing, edit lists applied: the true pts index.
    corrupt      (M,) bool: the decoder flagged the frame as damaged, or left coded bytes of it unread
                 (`wmkit.video.unread`); always false with all but pyav.
    errors       decode errors met and survived, one line each.
    tags         (key, value) that the container says of itself, sorted by key; nothing in them is trusted.
    Sizes, rotation and sample aspect ratio as in `SourceView`.
    """

    decoder: str
    codec: str
    pixel_format: str
    decoded_width: int
    decoded_height: int
    rotation_deg: int
    sample_aspect_ratio: float
    pts_s: Array
    corrupt: NDArray[np.bool_]
    errors: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        pts_s = frozen_array(self.pts_s, np.float64, (None,), "pts_s")
        if (np.diff(pts_s) <= 0).any() or not np.isfinite(pts_s).all():
            raise InputError("decode facts: expected finite, strictly increasing pts_s")
        object.__setattr__(self, "pts_s", pts_s)
        object.__setattr__(self, "corrupt", frozen_array(self.corrupt, np.bool_, (len(pts_s),), "corrupt"))

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) px of the picture a viewer sees: square pixels, rotation applied."""
        width = max(1, round(self.decoded_width * self.sample_aspect_ratio))
        return (self.decoded_height, width) if self.rotation_deg in (90, 270) else (width, self.decoded_height)

    @property
    def native_fps(self) -> float:
        """Mean rate, 1/s, from the first to the last frame; 0 for a single frame."""
        if len(self.pts_s) < 2:
            return 0.0
        return (len(self.pts_s) - 1) / float(self.pts_s[-1] - self.pts_s[0])


class Decoder(Protocol):
    """One decoding library. Both passes are sequential; nothing ever seeks by frame number."""

    name: ClassVar[str]

    def index(self, file: ClipFile, config: VideoConfig) -> DecodeFacts:
        """Decode everything once and report what is there; ClipError("decode", code) when nothing can be."""
        ...

    def frames(
        self, file: ClipFile, config: VideoConfig, facts: DecodeFacts, keep: NDArray[np.bool_]
    ) -> Iterator[NDArray[np.uint8]]:
        """The frames of `facts.pts_s` where `keep` (M,) is true, in order.

        Each is RGB as stored, (decoded_height, decoded_width, 3): rotation, sample aspect ratio and size are the
        FrameSource's work, done once for every decoder. ClipError when the second pass finds other frames.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameWindow:
    """At most 64 consecutive output frames.

    start   index of the first frame.
    rgb     (n, h, w, 3) uint8, upright.
    time_s  (n,) float64, the clip's own clock.
    """

    start: int
    rgb: NDArray[np.uint8]
    time_s: Array


class FrameSource(Protocol):
    """Re-iterates one clip; no stage ever holds a whole clip's pixels."""

    @property
    def file(self) -> ClipFile:
        """The clip on disk, for what is not pixels: container metadata, telemetry."""
        ...

    @property
    def clip(self) -> Clip:
        """Identity of the clip these frames belong to."""
        ...

    @property
    def facts(self) -> DecodeFacts:
        """What the full decode found, before sampling."""
        ...

    @property
    def view(self) -> SourceView:
        """Derivation, size and pts of the output frames; `len(view)` is their number."""
        ...

    def windows(self, size: int = WINDOW_FRAMES) -> Iterator[FrameWindow]:
        """All output frames in order, decoded again on every call; `size` at most 64."""
        ...
