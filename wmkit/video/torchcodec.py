"""torchcodec 0.13 as a decoder (an extra that needs the system's FFmpeg libraries). Its limits and what is done:

- it flags no damage and stops at the first packet that does not decode: later frames are lost, with a note;
- it seeks to a timestamp at every key frame, so MPEG streams lose their first frames (`unsupported_container`) and raw
  streams do not open (`decode_error`);
- full-range YUV that is tagged so (10-bit, AV1, VP9) is read as limited range: up to 9 levels of contrast are off;
- it turns pictures by itself: they are turned back, so that `DecodeFacts` speaks of what is stored.
"""

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wmkit.errors import ClipError
from wmkit.video.frames import ClipFile, DecodeFacts, VideoConfig
from wmkit.video.guard import STAGE, IndexBuilder, as_stored, missing_package
from wmkit.video.pyav import facts_of, probe, refuse_transport_stream

__all__ = ["TorchcodecDecoder"]


class TorchcodecDecoder:
    """`Decoder` over torchcodec's VideoDecoder on CPU; header facts come from `pyav.probe`.

    Raises InputError when torchcodec or the FFmpeg libraries are not installed.
    """

    name: ClassVar[str] = "torchcodec"

    def __init__(self) -> None:
        self._decoders = _torchcodec()

    def index(self, file: ClipFile, config: VideoConfig) -> DecodeFacts:
        """See `Decoder.index`. Codes beyond those of `pyav.probe`: decode_error, unsupported_container."""
        header = probe(file, config)
        refuse_transport_stream(file, header, self.name)
        builder = IndexBuilder(file.name, config.limits, file.end_s)
        for _ in self._decoded(file, builder):
            pass
        return facts_of(self.name, header, builder)

    def frames(
        self, file: ClipFile, config: VideoConfig, facts: DecodeFacts, keep: NDArray[np.bool_]
    ) -> Iterator[NDArray[np.uint8]]:
        """See `Decoder.frames`."""
        builder = IndexBuilder(file.name, config.limits, file.end_s)
        for number, picture in enumerate(self._decoded(file, builder)):
            builder.check_same(facts)
            if keep[number]:
                yield as_stored(picture.numpy(), facts.rotation_deg)
        builder.check_same(facts, ended=True)

    def _decoded(self, file: ClipFile, builder: IndexBuilder) -> Iterator[Any]:
        """Frames the index keeps, in order, as uint8 tensors (h, w, 3)."""
        try:
            decoder = self._decoders.VideoDecoder(
                file.path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
            )
        except (RuntimeError, ValueError) as error:
            message = f"{file.name}: torchcodec gives up on it; use --decoder pyav"
            raise ClipError(STAGE, "decode_error", message) from error
        for number in range(len(decoder)):
            try:
                frame = decoder.get_frame_at(number)
            except (RuntimeError, IndexError) as error:
                reason = str(error).splitlines()[0].rsplit(", ", 1)[-1]
                builder.note(f"decoding ends at frame {number} of {len(decoder)}: {reason}")
                return
            if builder.keeps(float(frame.pts_seconds), corrupt=False):
                yield frame.data
            elif builder.ended:
                return


def _torchcodec() -> ModuleType:
    try:
        return importlib.import_module("torchcodec.decoders")
    except ImportError as error:
        raise missing_package("torchcodec", type(error).__name__) from error
    except (OSError, RuntimeError) as error:
        raise missing_package("torchcodec", "no FFmpeg libraries beside it (apt-get install ffmpeg)") from error
