"""OpenCV's FFmpeg reader as a decoder. What it cannot do, and what this file does about it:

- it flags no damaged frame and drops broken packets without a word: `corrupt` is all false, `errors` empty;
- its clock, CAP_PROP_POS_MSEC, starts at the stream's stated start, which the header gives back; a raw stream without
  timestamps stands at 0 and so keeps one frame (`too_few_frames`);
- it reads the first video stream, not the best: another size than the header's is `other_stream`;
- it returns interlaced pictures black, hence `interlaced`; its wheel has no software AV1 (`zero_frames`);
- it maps HDR to SDR by itself, so HDR pictures differ from pyav's, which keep the signal as it is;
- it turns pictures by itself unless told not to, and never applies the sample aspect ratio.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from wmkit.errors import ClipError
from wmkit.video.frames import ClipFile, DecodeFacts, VideoConfig
from wmkit.video.guard import OPEN_OPTIONS, STAGE, IndexBuilder, file_changed
from wmkit.video.pyav import facts_of, probe
from wmkit.video.quiet import quiet_opencv

__all__ = ["OpencvDecoder"]


class OpencvDecoder:
    """`Decoder` over cv2.VideoCapture; header facts come from `pyav.probe`."""

    name: ClassVar[str] = "opencv"

    def index(self, file: ClipFile, config: VideoConfig) -> DecodeFacts:
        """See `Decoder.index`. Codes beyond those of `pyav.probe`: other_stream, interlaced."""
        header = probe(file, config)
        if header.interlaced:
            message = f"{file.name}: expected progressive video, got interlaced, which OpenCV returns black; use pyav"
            raise ClipError(STAGE, "interlaced", message)
        builder = IndexBuilder(file.name, config.limits, file.end_s)
        with _capture(file) as capture:
            size = tuple(int(capture.get(item)) for item in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            if size != (header.width, header.height):
                message = (
                    f"{file.name}: expected the best stream of {header.width}x{header.height} px, OpenCV reads one of "
                    f"{size[0]}x{size[1]}; use --decoder pyav"
                )
                raise ClipError(STAGE, "other_stream", message)
            for _ in _grabbed(capture, header.start_s, builder):
                pass
        return facts_of(self.name, header, builder)

    def frames(
        self, file: ClipFile, config: VideoConfig, facts: DecodeFacts, keep: NDArray[np.bool_]
    ) -> Iterator[NDArray[np.uint8]]:
        """See `Decoder.frames`."""
        header = probe(file, config)
        builder = IndexBuilder(file.name, config.limits, file.end_s)
        with _capture(file) as capture:
            for number, _ in enumerate(_grabbed(capture, header.start_s, builder)):
                builder.check_same(facts)
                if not keep[number]:
                    continue
                decoded, picture = capture.retrieve()
                if not decoded or picture.shape != (facts.decoded_height, facts.decoded_width, 3):
                    raise file_changed(file.name)
                yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
        builder.check_same(facts, ended=True)


@contextmanager
def _capture(file: ClipFile) -> Iterator[cv2.VideoCapture]:
    """An open reader on one thread that neither turns pictures nor writes to stderr."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, when the first reader opens
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(f"{name};{value}" for name, value in OPEN_OPTIONS.items())
    with quiet_opencv():
        capture = cv2.VideoCapture(file.path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        if not capture.isOpened():
            raise ClipError(STAGE, "unreadable", f"{file.name}: expected a video, OpenCV cannot open it; use pyav")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        yield capture
    finally:
        capture.release()


def _grabbed(capture: cv2.VideoCapture, start_s: float, builder: IndexBuilder) -> Iterator[None]:
    """Stops at every frame the index keeps, decoded and ready to retrieve."""
    while capture.grab():
        if builder.keeps(start_s + capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0, corrupt=False):
            yield
        elif builder.ended:
            return
