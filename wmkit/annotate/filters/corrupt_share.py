"""Corrupt frames: what the decoder calls damaged, or did not read to its end."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.frames import UNTIMED, DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["CorruptShareConfig"]

NAME = "corrupt_share"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptShareConfig:
    """Share of source frames that the decoder flagged, left unread to their end, or lost with an error, of all it met.

    Only PyAV flags frames (`wmkit.video.unread`: of H.264 those too that garbage filled); others tell of errors alone.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _CorruptShare()


class _CorruptShare:
    def see(self, picture: Picture) -> None:
        """The decoder tells; a damaged picture need not look it."""

    def verdict(self, facts: DecodeFacts) -> Verdict:
        lost = sum(not line.startswith(UNTIMED) for line in facts.errors)
        met = len(facts.corrupt) + lost
        if met == 0:
            return Verdict.unmeasured(NAME, "", "too_few_frames")
        return Verdict.measured(NAME, (int(np.count_nonzero(facts.corrupt)) + lost) / met, "")
