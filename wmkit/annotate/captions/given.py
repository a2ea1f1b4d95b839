"""The caption that a manifest has for a clip."""

from dataclasses import dataclass
from typing import ClassVar

from wmkit.annotate.protocols import Captioner
from wmkit.caption import Caption
from wmkit.clip import Annotation
from wmkit.video.frames import ClipFile, FrameSource

__all__ = ["GivenCaptionConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCaptionConfig:
    """The clip's caption is `text`."""

    text: str
    name: ClassVar[str] = "manifest"
    licence: ClassVar[str] = "the captions' own"

    def build(self, device: str) -> Captioner:
        """The captioner; `device` is not used."""
        return _Given(self.text)


@dataclass(frozen=True, slots=True)
class _Given:
    text: str

    def caption(self, annotation: Annotation, frames: FrameSource, file: ClipFile) -> Caption:
        return Caption.of(self.text, "manifest")
