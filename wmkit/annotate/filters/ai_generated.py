"""AI-generated footage, where its own metadata says so; nobody can tell it from the pixels for long."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.protocols import FootageFilter
from wmkit.clip import Verdict
from wmkit.video.container_tags import SOURCE_TYPE
from wmkit.video.frames import DecodeFacts
from wmkit.video.picture import Picture

__all__ = ["AiGeneratedConfig"]

NAME = "ai_generated"
LABELS = {"1": 1.0, "2": 0.5, "3": 0.5}  # GB 45438-2025: is, may be, is suspected to be


@dataclass(frozen=True, slots=True, kw_only=True)
class AiGeneratedConfig:
    """1 when the file declares itself made by an algorithm, 0.5 in part or perhaps, 0 when a camera signed for it.

    By IPTC's digital source type in a C2PA manifest or XMP (trained or plain algorithmic media, composites), or the
    AIGC label that Chinese services write. UNMEASURED when the file says nothing, as most do.
    """

    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> FootageFilter:
        """The filter; `device` is not used."""
        return _AiGenerated()


class _AiGenerated:
    def see(self, picture: Picture) -> None:
        """The file tells; the pictures do not."""

    def verdict(self, facts: DecodeFacts) -> Verdict:
        tags = dict(facts.tags)
        kind = tags.get(SOURCE_TYPE, "").lower()
        if "algorithmic" in kind:
            return Verdict.measured(NAME, 0.5 if "composite" in kind else 1.0, "")
        if "aigc.label" in tags:
            return Verdict.measured(NAME, LABELS[tags["aigc.label"]], "")
        if "capture" in kind:
            return Verdict.measured(NAME, 0.0, "")
        return Verdict.unmeasured(NAME, "", "the file says nothing of its origin")
