"""decord 0.6 as a decoder (an extra). What it cannot do, and what this file does about it:

- its times are float32 and count from the first frame: the header gives the start, 1e-7 of a time is lost;
- it flags no damage and replaces undecodable frames by their neighbours without a word: `corrupt` is all false;
- a truncated file, AV1 and GIF fail as a whole (`decode_error`);
- it plays over edit lists (`edit_list`) and gives later frames than asked for in MPEG streams
  (`unsupported_container`); HEVC with open GOPs is known to go wrong unnoticed;
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
from wmkit.video.pyav import Header, facts_of, hides_packets, probe, refuse_transport_stream

__all__ = ["DecordDecoder"]


class DecordDecoder:
    """`Decoder` over decord.VideoReader; header facts come from `pyav.probe`.

    Raises InputError when decord is not installed.
    """

    name: ClassVar[str] = "decord"

    def __init__(self) -> None:
        self._decord = _decord()

    def index(self, file: ClipFile, config: VideoConfig) -> DecodeFacts:
        """See `Decoder.index`. Codes beyond those of `pyav.probe`: decode_error, edit_list, unsupported_container."""
        header = probe(file, config)
        refuse_transport_stream(file, header, self.name)
        if hides_packets(file, config):
            message = f"{file.name}: expected no cut by an edit list, which decord plays over; use --decoder pyav"
            raise ClipError(STAGE, "edit_list", message)
        builder = IndexBuilder(file.name, config.limits, file.end_s)
        for _ in self._decoded(file, header, builder):
            pass
        return facts_of(self.name, header, builder)

    def frames(
        self, file: ClipFile, config: VideoConfig, facts: DecodeFacts, keep: NDArray[np.bool_]
    ) -> Iterator[NDArray[np.uint8]]:
        """See `Decoder.frames`."""
        builder = IndexBuilder(file.name, config.limits, file.end_s)
        for number, picture in enumerate(self._decoded(file, probe(file, config), builder)):
            builder.check_same(facts)
            if keep[number]:
                yield as_stored(picture.asnumpy(), facts.rotation_deg)
        builder.check_same(facts, ended=True)

    def _decoded(self, file: ClipFile, header: Header, builder: IndexBuilder) -> Iterator[Any]:
        """Frames the index keeps, in order, as decord's own arrays."""
        try:
            reader = self._decord.VideoReader(file.path, ctx=self._decord.cpu(0), num_threads=1)
            starts_s = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0].astype(np.float64)
        except (self._decord.DECORDError, RuntimeError) as error:
            raise ClipError(STAGE, "decode_error", f"{file.name}: decord gives up on it; use --decoder pyav") from error
        for pts_s in header.first_pts_s + (starts_s - starts_s[0]):
            try:
                picture = reader.next()
            except (self._decord.DECORDError, StopIteration):
                builder.note(f"decoding ends before {pts_s:.6f} s, the frames after that are lost")
                return
            if builder.keeps(float(pts_s), corrupt=False):
                yield picture
            elif builder.ended:
                return


def _decord() -> ModuleType:
    try:
        module = importlib.import_module("decord")
    except ImportError as error:
        raise missing_package("decord", f"{type(error).__name__}") from error
    module.logging.set_level(module.logging.QUIET)
    return module
