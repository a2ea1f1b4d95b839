"""Damage that decodes without a word: H.264 pictures that do not need the last of their coded bytes.

CABAC, H.264's arithmetic code, makes symbols of any bytes. Behind damage it goes on in garbage, and one time in ten it
comes to the last macroblock with bytes to spare; FFmpeg asks after none of them, and no `err_detect` makes it. A sound
picture needs its last bytes: without them, or with others, the decoder complains. What is read of a picture does not
depend on any other picture's pixels, so all of them are tried at once.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from av.container import InputContainer
from av.error import EOFError as AvEOFError
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

__all__ = ["TAMPERS", "Tamper", "tampered", "unread_pts"]

SLICES = (1, 5)  # nal_unit_type of a picture's own data (H.264, table 7-1)
LEAST_BYTES, LEAST_PX = 128, 128 * 128  # of a slice, of a picture: less, and a sixteenth may be the last macroblock's
PADDING = b"\x00\x03"  # cabac_zero_words behind a slice (H.264, 7.3.2.10): nobody reads them
CHEAPER = {"skip_loop_filter": "all", "skip_idct": "all"}  # pixels are not looked at

Opened = Callable[[], AbstractContextManager[tuple[InputContainer, VideoStream]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tamper:
    """What is done to the last 1 / `part` of a slice: ones instead (an end of slice to CABAC), or cut off (zeros)."""

    part: int
    ones: bool


TAMPERS = tuple(Tamper(part=part, ones=ones) for part in (16, 17, 18, 20) for ones in (True, False))
"""One after the other while any picture is left: of 3,476 sound ones of 36 files the first four left none."""


def tampered(coded: bytes, length_bytes: int, tamper: Tamper) -> bytes | None:
    """A coded picture of NAL units behind their lengths, each slice's end tampered with.

    None of one with a slice too small to say, without any, or of other bytes than NAL units.
    """
    units, slices = [], 0
    for unit in _units(coded, length_bytes):
        if unit is None:
            return None
        if unit[0] & 31 in SLICES:
            unit = unit.rstrip(PADDING)
            if len(unit) < LEAST_BYTES:
                return None
            slices += 1
            end = len(unit) // tamper.part
            unit = unit[:-end] + b"\xff" * (end if tamper.ones else 0)
        units.append(len(unit).to_bytes(length_bytes, "big") + unit)
    return b"".join(units) if slices else None


def _units(coded: bytes, length_bytes: int) -> Iterator[bytes | None]:
    """NAL units in order; None where the lengths lead out of the bytes."""
    start = 0
    while start < len(coded):
        size = int.from_bytes(coded[start : start + length_bytes], "big")
        start += length_bytes
        yield coded[start : start + size] if 0 < size <= len(coded) - start else None
        start += size


def unread_pts(opened: Opened, last_s: float) -> set[int]:
    """Presentation times, in the stream's own ticks, of pictures up to `last_s` s whose coded bytes are not all read.

    `opened` gives the file and its video stream, ready to decode from the start, every time it is called. Only H.264
    in MP4 and its kin (Matroska, MOV, FLV) is looked at: elsewhere nothing is unread. A picture of several slices
    counts when all of them have bytes to spare.
    """
    found: set[int] | None = None
    for tamper in TAMPERS:
        with opened() as (container, stream):
            setup = stream.codec_context.extradata or b""
            if stream.codec_context.width * stream.codec_context.height < LEAST_PX:
                return set()
            if stream.codec_context.name != "h264" or len(setup) < 7 or setup[0] != 1:  # 1: AVCDecoderConfiguration
                return set()
            stream.codec_context.options = {**stream.codec_context.options, **CHEAPER}
            quiet = set(_quiet(container, stream, (setup[4] & 3) + 1, tamper, last_s))
        found = quiet if found is None else found & quiet
        if not found:
            break
    return found or set()


def _quiet(
    container: InputContainer, stream: VideoStream, length_bytes: int, tamper: Tamper, last_s: float
) -> Iterator[int]:
    """Times of tampered pictures that decode without a complaint."""
    done: set[int | None] = set()
    try:
        for packet in container.demux(stream):
            sent = packet
            coded = tampered(bytes(packet), length_bytes, tamper) if packet.size else None
            if coded is not None:
                done.add(packet.pts)
                sent = _like(packet, coded)
            try:
                frames = stream.decode(sent)
            except AvEOFError:
                return
            except FFmpegError:
                continue
            for frame in frames:
                if frame.pts is not None and frame.pts in done and not frame.is_corrupt:
                    yield frame.pts
                if frame.time is not None and frame.time > last_s:
                    return
    except (FFmpegError, OSError):
        return  # the index has noted what cannot be read


def _like(packet: Packet, coded: bytes) -> Packet:
    """Other bytes at the same time."""
    other = Packet(coded)
    other.pts, other.dts, other.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
    if packet.time_base is not None:
        other.time_base = packet.time_base
    return other
