"""Checks every decoder shares, made before and while a library touches an untrusted file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.errors import ClipError, InputError
from wmkit.video.frames import ClipFile, DecodeFacts, DecodeLimits

__all__ = [
    "CODECS",
    "OPEN_OPTIONS",
    "STAGE",
    "IndexBuilder",
    "as_stored",
    "check_frame_count",
    "check_pixels",
    "check_promise",
    "check_video_file",
    "file_changed",
    "missing_package",
]

STAGE = "decode"

# A demuxer outside this list may open other files or addresses (hls, concat, dash, image2, sdp, lavfi, ...).
# Audio formats are in it so that a song is `no_video_stream` and not an unknown file.
_DEMUXERS = (
    "3gp,aac,apng,asf,av1,avi,dv,flac,flv,gif,h261,h263,h264,hevc,ivf,jpeg_pipe,m4v,matroska,mjpeg,mov,mp3,mpeg,mpegts,"
    "mpegvideo,mxf,nut,obu,ogg,png_pipe,rawvideo,rm,vc1,vvc,wav,webp_pipe,wtv,yuv4mpegpipe"
)
CODECS = frozenset(
    {
        *("apng", "av1", "cfhd", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "flv", "gif", "h261", "h263", "h264", "hevc"),
        *("huffyuv", "libaom-av1", "libdav1d", "libvpx", "libvpx-vp9", "magicyuv", "mjpeg", "mpeg1video", "mpeg2video"),
        *("mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "png", "prores", "qtrle", "rawvideo", "theora", "utvideo"),
        *("v210", "v410", "vc1", "vp6", "vp6f", "vp8", "vp9", "vvc", "webp", "wmv1", "wmv2", "wmv3"),
    }
)
"""FFmpeg's decoders of what cameras, editors and the web write; its other hundreds are never fed an untrusted file."""
OPEN_OPTIONS = {
    "format_whitelist": _DEMUXERS,
    "codec_whitelist": ",".join(sorted(CODECS)),
    "protocol_whitelist": "file",
    "enable_drefs": "0",
}
"""What FFmpeg may do with a user's file, for every `av.open` of one."""

# A playlist makes a demuxer open other files; it is text, and so is a script or page that was named .mp4.
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"<MPD", b"<?xml")
_TEXT_WITH_FRAMES = (b"YUV4MPEG2",)
_SNIFF_BYTES = 1024
_MAX_NOTES = 100
MAX_DURATION_S = 24 * 3600.0


def check_video_file(file: ClipFile) -> str:
    """Path of a file that is worth opening.

    Raises ClipError("decode", ...): `unreadable` (missing, no permission, I/O error), `empty_file` (0 bytes),
    `not_a_video` (text or a playlist, whatever its name).
    """
    try:
        with Path(file.path).open("rb") as stream:
            head = stream.read(_SNIFF_BYTES)
    except OSError as error:
        raise ClipError(STAGE, "unreadable", f"{file.name}: expected a readable file, got {error.strerror}") from error
    if not head:
        raise ClipError(STAGE, "empty_file", f"{file.name}: expected a video, got a file of 0 bytes; copy it again")
    if _is_text(head):
        raise ClipError(STAGE, "not_a_video", f"{file.name}: expected a video, got text or a playlist; remove it")
    return file.path


def _is_text(head: bytes) -> bool:
    if head.startswith(_TEXT_WITH_FRAMES):
        return False
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_PLAYLISTS):
        return True
    control = set(range(32)) - {9, 10, 12, 13, 27}
    if control.intersection(head) or 127 in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) == _SNIFF_BYTES  # a character cut by the sniff
    return True


def check_pixels(name: str, width: int, height: int, limits: DecodeLimits) -> None:
    """ClipError `too_many_pixels` when a picture of width x height px is above the limit, `zero_frames` when empty."""
    if width < 1 or height < 1:
        raise ClipError(STAGE, "zero_frames", f"{name}: expected a picture, got a size of {width}x{height} px")
    if width * height > limits.max_pixels:
        raise ClipError(
            STAGE,
            "too_many_pixels",
            f"{name}: expected at most {limits.max_pixels} px a frame, got {width}x{height}; shrink it first",
        )


def check_frame_count(name: str, count: int, limits: DecodeLimits) -> None:
    """ClipError `too_many_frames` when a source has more frames than the limit."""
    if count > limits.max_source_frames:
        raise ClipError(
            STAGE,
            "too_many_frames",
            f"{name}: expected at most {limits.max_source_frames} frames, got more; cut it into clips first",
        )


def check_promise(file: ClipFile, frames: int, duration_s: float | None, limits: DecodeLimits) -> None:
    """What a header promises, before anything is decoded; 0 frames and None are unknown.

    Raises ClipError `too_many_frames`, and `too_long` above a day. A file of which a part is wanted may be longer:
    decoding stops after it.
    """
    if file.end_s is not None:
        return
    check_frame_count(file.name, frames, limits)
    if duration_s is not None and duration_s > MAX_DURATION_S:
        message = f"expected at most {MAX_DURATION_S / 3600:g} hours, its header says {duration_s / 3600:.1f}"
        raise ClipError(STAGE, "too_long", f"{file.name}: {message}; name the part that is wanted (#t=START,END)")


def file_changed(name: str) -> ClipError:
    """The error of a second pass that does not find the frames of the first."""
    return ClipError(
        STAGE, "file_changed", f"{name}: expected the frames of the first pass, got others; do not edit it"
    )


class IndexBuilder:
    """Collects the pts index of one pass and what was dropped, and makes the `DecodeFacts`.

    A frame is kept when its time is known and after the last kept one; every dropped frame is noted. The rule
    looks at times alone, so a second pass that asks `keeps` in the same order keeps the same frames. From `end_s`
    (seconds after the first frame) on nothing is kept or noted, and `ended` tells that decoding may stop.
    """

    def __init__(self, name: str, limits: DecodeLimits, end_s: float | None = None) -> None:
        self.name = name
        self.limits = limits
        self.ended = False
        self._end_s = end_s
        self.pts_s: list[float] = []
        self.corrupt: list[bool] = []
        self._notes: list[str] = []
        self._unwritten = 0

    def note(self, text: str) -> None:
        """Records one survived error; a file with thousands keeps the first hundred and a count."""
        if len(self._notes) < _MAX_NOTES:
            self._notes.append(text)
        else:
            self._unwritten += 1

    def keeps(self, pts_s: float | None, corrupt: bool) -> bool:
        """Adds a frame to the index unless its time is unknown, does not increase or is past the end."""
        if pts_s is not None and self._end_s is not None and self.pts_s and pts_s - self.pts_s[0] >= self._end_s:
            self.ended = True
        if self.ended:
            return False
        if pts_s is None:
            self.note(f"frame without a timestamp after {self._last()}: dropped")
            return False
        if self.pts_s and pts_s <= self.pts_s[-1]:
            self.note(f"frame at {pts_s:.6f} s, not after {self._last()}: dropped")
            return False
        check_frame_count(self.name, len(self.pts_s) + 1, self.limits)
        self.pts_s.append(pts_s)
        self.corrupt.append(corrupt)
        return True

    def damaged(self, pts_s: set[float]) -> None:
        """Kept frames at these times are damaged, though the decoder did not flag them."""
        self.corrupt = [corrupt or time_s in pts_s for time_s, corrupt in zip(self.pts_s, self.corrupt, strict=True)]

    def _last(self) -> str:
        return f"{self.pts_s[-1]:.6f} s" if self.pts_s else "the start"

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything survived, one line each."""
        more = (f"and {self._unwritten} more",) if self._unwritten else ()
        return (*self._notes, *more)

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(M,) pts in seconds and (M,) corrupt; ClipError `zero_frames` when nothing was kept."""
        if not self.pts_s:
            raise self.nothing()
        return np.array(self.pts_s, dtype=np.float64), np.array(self.corrupt, dtype=np.bool_)

    def nothing(self) -> ClipError:
        """The error of a source that opens and yields no frame."""
        first = f" ({self._notes[0]})" if self._notes else ""
        return ClipError(STAGE, "zero_frames", f"{self.name}: expected frames, none decodes{first}; copy it again")

    def check_same(self, facts: DecodeFacts, *, ended: bool = False) -> None:
        """ClipError `file_changed` when a second pass leaves the index of the first, or ends before it."""
        count = len(self.pts_s)
        same = count <= len(facts.pts_s) and (count == 0 or self.pts_s[-1] == facts.pts_s[count - 1])
        if not same or (ended and count != len(facts.pts_s)):
            raise file_changed(self.name)


def as_stored(picture: NDArray[np.uint8], rotation_deg: int) -> NDArray[np.uint8]:
    """Undoes the clockwise turn that some libraries apply by themselves."""
    return np.ascontiguousarray(np.rot90(picture, rotation_deg // 90))


def missing_package(package: str, reason: str) -> InputError:
    """The error of an optional decoder that cannot be loaded."""
    return InputError(f"--decoder {package}: expected it to be installed, got {reason}; pip install 'wmkit[{package}]'")
