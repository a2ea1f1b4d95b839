"""H.264 in MP4, the same bytes for the same frames: libx264 on one thread through imageio-ffmpeg's static binary."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.atomic import put_in_place, sync_file
from wmkit.errors import InputError

__all__ = ["write_mp4"]

_BITEXACT = ("-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1")
_COLOUR = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")


def write_mp4(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: float | Fraction,
    size: tuple[int, int],
    crf: int = 18,
    gop: int = 250,
    *,
    tags: Mapping[str, str] | None = None,
    grows_at: Path | None = None,
) -> int:
    """Encodes RGB frames (h, w, 3) uint8 at a constant `fps` (1/s) and returns how many there were.

    size is (width, height) px, even because of 4:2:0; frame k is shown at exactly k / fps, to a denominator of 1001;
    colours are BT.709, limited range, and tagged. At least every `gop`-th frame can be decoded without those before
    it. `tags` are the container's own (title, comment, ...). The file appears by one rename, complete or not at all.

    grows_at  where it grows until then, in fragments of `gop` frames: playable after each, and left there when what
              gives the frames fails. Costs some bits: nothing is looked ahead.
    Raises InputError for a bad size, rate, crf, gop, frame or an unwritable path, and when there is no frame.
    """
    width, height = size
    rate = Fraction(fps).limit_denominator(1001) if np.isfinite(float(fps)) else Fraction(0)
    if width < 2 or height < 2 or width % 2 or height % 2:
        raise InputError(f"{path}: expected an even size of at least 2x2 px for H.264, got {width}x{height}")
    if rate <= 0:
        raise InputError(f"{path}: expected a positive rate in frames a second, got {fps}")
    if not 0 <= crf <= 51:
        raise InputError(f"{path}: expected crf from 0 to 51, got {crf}")
    if gop < 1:
        raise InputError(f"{path}: expected gop of at least 1 frame, got {gop}")
    if path.is_dir():
        raise InputError(f"{path}: expected a file name, got a folder")
    scratch = grows_at or path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        scratch.open("wb").close()
    except OSError as error:
        raise InputError(f"{path}: expected a writable folder, got {error.strerror}") from error
    try:
        count = _encode(path, frames, _command(scratch, rate, size, [*_codec(crf, gop, grows_at), *_tags(tags)]))
        sync_file(scratch)
        put_in_place(scratch, path)
    finally:
        if grows_at is None or (scratch.exists() and not scratch.stat().st_size):
            scratch.unlink(missing_ok=True)
    return count


def _command(scratch: Path, rate: Fraction, size: tuple[int, int], codec: list[str]) -> list[str]:
    from imageio_ffmpeg import get_ffmpeg_exe

    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", f"{rate}", "-i", "-"]
    scale = "scale=out_color_matrix=bt709:out_range=tv:flags=bilinear+accurate_rnd+bitexact"
    head = [get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-v", "error", "-y", "-filter_threads", "1"]
    return [*head, *raw, "-an", "-vf", scale, *_COLOUR, *_BITEXACT, *codec, "-f", "mp4", str(scratch)]


def _codec(crf: int, gop: int, grows_at: Path | None) -> list[str]:
    codec = ["-c:v", "libx264", "-preset", "medium", "-crf", str(crf), "-g", str(gop), "-pix_fmt", "yuv420p"]
    codec += ["-threads", "1"]
    if grows_at is None:
        return [*codec, "-movflags", "+faststart"]
    fragments = ["-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-flush_packets", "1"]
    return [*codec, "-tune", "zerolatency", *fragments]


def _tags(tags: Mapping[str, str] | None) -> list[str]:
    return [word for key, value in (tags or {}).items() for word in ("-metadata", f"{key}={value}")]


def _encode(path: Path, frames: Iterable[NDArray[np.uint8]], command: list[str]) -> int:
    """Feeds ffmpeg; a wrong frame stops it, and its own complaint becomes the error's text."""
    count, ended_first, fed = 0, False, False
    with tempfile.TemporaryFile() as complaints:  # a file, since a full pipe would stall both processes
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints)
        stdin = process.stdin
        assert stdin is not None
        try:
            for block in _checked(path, frames, command[command.index("-s") + 1]):
                stdin.write(block)
                count += 1
            fed = True
        except BrokenPipeError:
            ended_first = True  # its exit code and complaint say why
        finally:
            if not fed and not ended_first:
                process.kill()
            with suppress(BrokenPipeError):
                stdin.close()
            code = process.wait()
        complaints.seek(0)
        text = " ".join(complaints.read().decode(errors="replace").replace(command[-1], str(path)).split())
    if count == 0 and not ended_first:
        raise InputError(f"{path}: expected at least one frame, got none")
    if code != 0 or ended_first:
        raise InputError(f"{path}: expected ffmpeg to encode it, got exit {code}: {text[-300:]}")
    return count


def _checked(path: Path, frames: Iterable[NDArray[np.uint8]], size: str) -> Iterator[memoryview]:
    width, height = (int(side) for side in size.split("x"))
    for frame in frames:
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise InputError(
                f"{path}: expected uint8 frames of shape {(height, width, 3)}, got {frame.dtype} {frame.shape}"
            )
        yield np.ascontiguousarray(frame).data
