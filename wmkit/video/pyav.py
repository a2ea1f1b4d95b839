"""PyAV, the default decoder: FFmpeg's libraries, exact timestamps, corruption flags.

Both passes run through `_decoded`, one sequential decode without a seek, so they keep the same frames. One thread:
`thread_type="SLICE"` (PyAV's default) hides damage from `is_corrupt`, and with frame threads the frame at which an
error surfaces depends on their number.
"""

import itertools
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import av
import numpy as np
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.error import EOFError as AvEOFError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from wmkit.errors import ClipError
from wmkit.video.frames import UNTIMED, ClipFile, DecodeFacts, VideoConfig
from wmkit.video.guard import (
    CODECS,
    OPEN_OPTIONS,
    STAGE,
    IndexBuilder,
    check_pixels,
    check_promise,
    check_video_file,
)
from wmkit.video.unread import unread_pts

__all__ = ["Header", "PyavDecoder", "facts_of", "hides_packets", "probe", "refuse_transport_stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the container and the first frame that decodes say; sizes, turn and ratio as in `SourceView`.

    container    FFmpeg's name of the demuxer.
    start_s      the stream's stated start, 0 when it states none.
    first_pts_s  time of the first frame in the source's own seconds.
    interlaced   the first frame holds two fields.
    """

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    rotation_deg: int
    sample_aspect_ratio: float
    start_s: float
    first_pts_s: float
    interlaced: bool


class PyavDecoder:
    """`Decoder` over PyAV."""

    name: ClassVar[str] = "pyav"

    def index(self, file: ClipFile, config: VideoConfig) -> DecodeFacts:
        """See `Decoder.index`.

        Codes: those of `guard`, and no_video_stream, zero_frames, size_changes, no_timestamps, odd_rotation, mirrored.
        """
        builder = IndexBuilder(file.name, config.limits, file.end_s)
        header: Header | None = None
        shape = (0, 0, 0)
        with _opened(file) as container:
            stream = _video_stream(file, container, config)
            for frame in _decoded(file, container, stream, builder):
                if header is None:
                    header = _header(file, config, stream, frame, builder.pts_s[0])
                    shape = (frame.width, frame.height, frame.rotation)
                elif shape != (frame.width, frame.height, frame.rotation):
                    raise _size_changes(file, shape, frame)
            time_base = stream.time_base
        if header is None:
            raise builder.nothing()
        if header.codec == "h264" and time_base is not None:
            unread = unread_pts(lambda: _ready(file, config), builder.pts_s[-1])
            builder.damaged({float(pts * time_base) for pts in unread})
        return facts_of(self.name, header, builder)

    def frames(
        self, file: ClipFile, config: VideoConfig, facts: DecodeFacts, keep: NDArray[np.bool_]
    ) -> Iterator[NDArray[np.uint8]]:
        """See `Decoder.frames`. 10-bit and HDR become 8 bit by swscale's matrix and range, without tone mapping."""
        builder = IndexBuilder(file.name, config.limits, file.end_s)
        with _opened(file) as container:
            stream = _video_stream(file, container, config)
            for number, frame in enumerate(_decoded(file, container, stream, builder)):
                builder.check_same(facts)
                if keep[number]:
                    yield frame.to_ndarray(format="rgb24", threads=1)  # pyright: ignore[reportReturnType]  # rgb24 is uint8
        builder.check_same(facts, ended=True)


def probe(file: ClipFile, config: VideoConfig) -> Header:
    """The header of a file, for decoders whose library does not tell it; decodes up to the first frame.

    Raises the ClipErrors of `PyavDecoder.index`, and so keeps playlists and other traps from those libraries.
    """
    builder = IndexBuilder(file.name, config.limits, file.end_s)
    with _opened(file) as container:
        stream = _video_stream(file, container, config)
        for frame in _decoded(file, container, stream, builder):
            return _header(file, config, stream, frame, builder.pts_s[0])
    raise builder.nothing()


def hides_packets(file: ClipFile, config: VideoConfig) -> bool:
    """Whether an edit list keeps some of the stream's packets off the screen; demuxes without decoding."""
    builder = IndexBuilder(file.name, config.limits, file.end_s)
    with _opened(file) as container:
        stream = _video_stream(file, container, config)
        return any(packet.is_discard for packet in _packets(container, stream, builder))


def refuse_transport_stream(file: ClipFile, header: Header, decoder: str) -> None:
    """ClipError `unsupported_container` for MPEG streams, where a seek to the start loses the first key frame."""
    if header.container in ("mpegts", "mpeg"):
        message = (
            f"{file.name}: expected a container with an index, {decoder} loses frames of {header.container}; use pyav"
        )
        raise ClipError(STAGE, "unsupported_container", message)


def facts_of(decoder: str, header: Header, builder: IndexBuilder) -> DecodeFacts:
    """The facts of a finished index pass; ClipError `zero_frames` when it kept nothing."""
    pts_s, corrupt = builder.arrays()
    return DecodeFacts(
        decoder=decoder,
        codec=header.codec,
        pixel_format=header.pixel_format,
        decoded_width=header.width,
        decoded_height=header.height,
        rotation_deg=header.rotation_deg,
        sample_aspect_ratio=header.sample_aspect_ratio,
        pts_s=pts_s,
        corrupt=corrupt,
        errors=builder.notes,
    )


def _header(file: ClipFile, config: VideoConfig, stream: VideoStream, frame: VideoFrame, first_pts_s: float) -> Header:
    check_pixels(file.name, frame.width, frame.height, config.limits)
    start, time_base, aspect_ratio = stream.start_time, stream.time_base, stream.sample_aspect_ratio
    return Header(
        container=stream.container.format.name,
        codec=stream.codec_context.name,
        pixel_format=frame.format.name,
        width=frame.width,
        height=frame.height,
        rotation_deg=_clockwise_deg(file, frame),
        # No ratio in the file means square pixels in every container's standard.
        sample_aspect_ratio=float(aspect_ratio) if aspect_ratio else 1.0,
        start_s=0.0 if start is None or time_base is None else float(start * time_base),
        first_pts_s=first_pts_s,
        interlaced=frame.interlaced_frame,
    )


def _clockwise_deg(file: ClipFile, frame: VideoFrame) -> int:
    """Clockwise turn that makes the picture upright; FFmpeg's angle is counter-clockwise and blind to mirrors."""
    determinant = _matrix_determinant(frame)
    if determinant is not None and determinant < 0:
        message = f"{file.name}: expected a display matrix that turns, got one that mirrors; encode it upright first"
        raise ClipError(STAGE, "mirrored", message)
    turn = -frame.rotation % 360
    if turn not in (0, 90, 180, 270) or determinant == 0:
        raise ClipError(STAGE, "odd_rotation", f"{file.name}: expected a turn by a multiple of 90 deg, got {turn:g}")
    return turn


def _matrix_determinant(frame: VideoFrame) -> int | None:
    """Determinant of the display matrix's upper 2x2 block, 16.16 fixed point squared; None without a matrix."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        return None  # PyAV 18 does not know every kind of side data (29, the view id of MV-HEVC) and then lists none
    if data is None:
        return None
    a, b, _, c, d = struct.unpack_from("<5i", bytes(data))
    return a * d - b * c


def _opened(file: ClipFile) -> InputContainer:
    path = check_video_file(file)
    try:
        return av.open(path, metadata_errors="replace", options=dict(OPEN_OPTIONS))
    except (InvalidDataError, ArgumentError) as error:
        message = (
            f"{file.name}: expected a video, got data without a readable container header; remove or copy it again"
        )
        raise ClipError(STAGE, "not_a_video", message) from error
    except (FFmpegError, OSError) as error:
        message = f"{file.name}: expected a readable video, got {_one_line(error)}"
        raise ClipError(STAGE, "unreadable", message) from error


@contextmanager
def _ready(file: ClipFile, config: VideoConfig) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and the stream that is looked at, from its start."""
    with _opened(file) as container:
        yield container, _video_stream(file, container, config)


def _video_stream(file: ClipFile, container: InputContainer, config: VideoConfig) -> VideoStream:
    """The stream a player would show, ready to decode on one thread."""
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        kinds = ", ".join(sorted({item.type for item in container.streams})) or "no streams"
        raise ClipError(STAGE, "no_video_stream", f"{file.name}: expected a video stream, got {kinds}; remove it")
    context = stream.codec_context
    if context is None or context.name not in CODECS:
        name = "one that FFmpeg does not know" if context is None else context.name
        message = f"{file.name}: expected a codec that cameras or the web use, got {name}; encode it as H.264 first"
        raise ClipError(STAGE, "unsupported_codec", message)
    check_promise(file, stream.frames, _stated_duration_s(container, stream), config.limits)
    if context.width and context.height:
        check_pixels(file.name, context.width, context.height, config.limits)
    # Guards the allocation when the header lied; twice the limit, since FFmpeg counts the padding of its buffers.
    context.options = {"max_pixels": str(2 * config.limits.max_pixels + 65536)}
    context.thread_type = "FRAME"
    context.thread_count = 1
    return stream


def _stated_duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


def _decoded(
    file: ClipFile, container: InputContainer, stream: VideoStream, builder: IndexBuilder
) -> Iterator[VideoFrame]:
    """Frames the index keeps, in order; errors in between are noted and survived."""
    untimed_rate: Fraction | None = None
    for number, frame in enumerate(_survivors(container, stream, builder)):
        if number == 0 and frame.pts is None:
            untimed_rate = _stated_rate(file, stream)
            builder.note(f"{UNTIMED}: time = index / {untimed_rate}, the rate the bitstream states")
        if untimed_rate is not None:
            pts_s = float(number / untimed_rate)
        elif frame.pts is None or frame.time_base is None:
            pts_s = None
        else:
            pts_s = float(frame.pts * frame.time_base)
        if builder.keeps(pts_s, frame.is_corrupt):
            yield frame
        elif builder.ended:
            return


def _survivors(container: InputContainer, stream: VideoStream, builder: IndexBuilder) -> Iterator[VideoFrame]:
    """Every frame that decodes; after a bad packet decoding goes on."""
    for packet in itertools.chain(_packets(container, stream, builder), [None]):
        try:
            frames = stream.decode(packet)
        except AvEOFError:
            return  # the demuxer's own last packet had drained the decoder
        except MemoryError:
            raise  # this machine's lack, not the file's damage: frames must not go missing by it
        except (FFmpegError, OSError) as error:
            builder.note(f"decode: {_one_line(error)}")
            continue
        yield from frames


def _packets(container: InputContainer, stream: VideoStream, builder: IndexBuilder) -> Iterator[Packet]:
    """Packets up to the end or the first one that cannot be read."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, OSError) as error:
            builder.note(f"demux: {_one_line(error)}")
            return
        if packet is None:
            return
        yield packet


def _stated_rate(file: ClipFile, stream: VideoStream) -> Fraction:
    """Frame rate in the bitstream's own header; the demuxer's guess (25) is not one."""
    rate = stream.codec_context.framerate
    if not rate:
        message = f"{file.name}: expected timestamps or a stated rate, got neither; put it into a container first"
        raise ClipError(STAGE, "no_timestamps", message)
    return rate


def _size_changes(file: ClipFile, shape: tuple[int, int, int], frame: VideoFrame) -> ClipError:
    was, now = (f"{w}x{h} turned {turn} deg" for w, h, turn in (shape, (frame.width, frame.height, frame.rotation)))
    return ClipError(
        STAGE, "size_changes", f"{file.name}: expected one picture size, got {was} and then {now}; cut it there"
    )


def _one_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {' '.join(str(text).split())}"
