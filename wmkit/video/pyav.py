"""PyAV, the default decoder: FFmpeg's libraries, exact timestamps, corruption flags.

Both passes run through `_decoded`, one sequential decode without a seek, so they keep the same frames. One thread:
`thread_type="SLICE"` (PyAV's default) hides damage from `is_corrupt`, and with frame threads the frame at which an
error surfaces depends on their number.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import ClassVar

import av
import numpy as np
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.error import EOFError as AvEOFError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from wmkit.errors import ClipError
from wmkit.video.frames import ClipFile, DecodeFacts, VideoConfig
from wmkit.video.guard import STAGE, IndexBuilder, check_pixels, check_video_file, clockwise_deg, file_changed

__all__ = ["PyavDecoder"]

# A demuxer outside this list may open other files or addresses (hls, concat, dash, image2, sdp, lavfi, ...).
# Audio formats are in it so that a song is `no_video_stream` and not an unknown file.
_DEMUXERS = (
    "3gp,aac,apng,asf,av1,avi,dv,flac,flv,gif,h261,h263,h264,hevc,ivf,jpeg_pipe,m4v,matroska,mjpeg,mov,mp3,mpeg,mpegts,"
    "mpegvideo,mxf,nut,obu,ogg,png_pipe,rawvideo,rm,vc1,vvc,wav,webp_pipe,wtv,yuv4mpegpipe"
)
_OPEN_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}


class PyavDecoder:
    """`Decoder` over PyAV."""

    name: ClassVar[str] = "pyav"

    def index(self, file: ClipFile, config: VideoConfig) -> DecodeFacts:
        """See `Decoder.index`.

        Codes: those of `guard`, and no_video_stream, zero_frames, size_changes, no_timestamps, odd_rotation, mirrored.
        """
        builder = IndexBuilder(file.name, config.limits)
        first: VideoFrame | None = None
        with _opened(file) as container:
            stream = _video_stream(file, container, config)
            for frame in _decoded(file, container, stream, builder):
                if first is None:
                    first = frame
                    check_pixels(file.name, frame.width, frame.height, config.limits)
                elif (frame.width, frame.height, frame.rotation) != (first.width, first.height, first.rotation):
                    raise _size_changes(file, first, frame)
            codec, aspect_ratio = stream.codec_context.name, stream.sample_aspect_ratio
        pts_s, corrupt = builder.arrays()
        assert first is not None  # arrays() raised otherwise
        return DecodeFacts(
            decoder=self.name,
            codec=codec,
            pixel_format=first.format.name,
            decoded_width=first.width,
            decoded_height=first.height,
            rotation_deg=clockwise_deg(file.name, first.rotation),
            # No ratio in the file means square pixels in every container's standard.
            sample_aspect_ratio=float(aspect_ratio) if aspect_ratio else 1.0,
            pts_s=pts_s,
            corrupt=corrupt,
            errors=builder.notes,
        )

    def frames(
        self, file: ClipFile, config: VideoConfig, facts: DecodeFacts, keep: NDArray[np.bool_]
    ) -> Iterator[NDArray[np.uint8]]:
        """See `Decoder.frames`. 10-bit and HDR become 8 bit by swscale's matrix and range, without tone mapping."""
        builder = IndexBuilder(file.name, config.limits)
        with _opened(file) as container:
            stream = _video_stream(file, container, config)
            for number, frame in enumerate(_decoded(file, container, stream, builder)):
                if number >= len(keep) or builder.pts_s[-1] != facts.pts_s[number]:
                    raise file_changed(file.name)
                if keep[number]:
                    yield frame.to_ndarray(format="rgb24", threads=1)  # pyright: ignore[reportReturnType]  # rgb24 is uint8
        if len(builder.pts_s) != len(keep):
            raise file_changed(file.name)


def _opened(file: ClipFile) -> InputContainer:
    path = check_video_file(file)
    try:
        return av.open(path, metadata_errors="replace", options=dict(_OPEN_OPTIONS))
    except (InvalidDataError, ArgumentError) as error:
        message = (
            f"{file.name}: expected a video, got data without a readable container header; remove or copy it again"
        )
        raise ClipError(STAGE, "not_a_video", message) from error
    except (FFmpegError, OSError) as error:
        message = f"{file.name}: expected a readable video, got {_one_line(error)}"
        raise ClipError(STAGE, "unreadable", message) from error


def _video_stream(file: ClipFile, container: InputContainer, config: VideoConfig) -> VideoStream:
    """The stream a player would show, ready to decode on one thread."""
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        kinds = ", ".join(sorted({item.type for item in container.streams})) or "no streams"
        raise ClipError(STAGE, "no_video_stream", f"{file.name}: expected a video stream, got {kinds}; remove it")
    context = stream.codec_context
    if context.width and context.height:
        check_pixels(file.name, context.width, context.height, config.limits)
    context.options = {"max_pixels": str(config.limits.max_pixels)}  # guards the allocation when the header lied
    context.thread_type = "FRAME"
    context.thread_count = 1
    return stream


def _decoded(
    file: ClipFile, container: InputContainer, stream: VideoStream, builder: IndexBuilder
) -> Iterator[VideoFrame]:
    """Frames the index keeps, in order; errors in between are noted and survived."""
    untimed_rate: Fraction | None = None
    for number, frame in enumerate(_survivors(container, stream, builder)):
        if number == 0 and frame.pts is None:
            untimed_rate = _stated_rate(file, stream)
            builder.note(f"no timestamps in the file: time = index / {untimed_rate}, the rate the bitstream states")
        if untimed_rate is not None:
            pts_s = float(number / untimed_rate)
        elif frame.pts is None or frame.time_base is None:
            pts_s = None
        else:
            pts_s = float(frame.pts * frame.time_base)
        if builder.keeps(pts_s, frame.is_corrupt):
            yield frame


def _survivors(container: InputContainer, stream: VideoStream, builder: IndexBuilder) -> Iterator[VideoFrame]:
    """Every frame that decodes; after a bad packet decoding goes on, after a bad demux the decoder is drained."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, OSError) as error:
            builder.note(f"demux: {_one_line(error)}")
            packet = None
        try:
            frames = stream.decode(packet)
        except (FFmpegError, OSError) as error:
            if not isinstance(error, AvEOFError):
                builder.note(f"decode: {_one_line(error)}")
            frames = []
        yield from frames
        if packet is None:
            return


def _stated_rate(file: ClipFile, stream: VideoStream) -> Fraction:
    """Frame rate in the bitstream's own header; the demuxer's guess (25) is not one."""
    rate = stream.codec_context.framerate
    if not rate:
        message = f"{file.name}: expected timestamps or a stated rate, got neither; put it into a container first"
        raise ClipError(STAGE, "no_timestamps", message)
    return rate


def _size_changes(file: ClipFile, first: VideoFrame, frame: VideoFrame) -> ClipError:
    was, now = (f"{item.width}x{item.height} turned {item.rotation}" for item in (first, frame))
    return ClipError(
        STAGE, "size_changes", f"{file.name}: expected one picture size, got {was} and then {now}; cut it there"
    )


def _one_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {' '.join(str(text).split())}"
