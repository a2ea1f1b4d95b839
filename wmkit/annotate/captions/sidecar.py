"""Captions that somebody wrote before: a file beside each clip, or one file of all.

auto   `<clip>.txt`, the whole text; else `<clip>.json` with a text under caption, prompt or text. Of an image folder
       the files beside it, of its own name.
FILE   json {"clip": "text"}, or a line of json each, {"clip": ..., "caption": ...}; a clip is named by its path below
       the input root, by that path without its ending, or by its id.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from wmkit.annotate.protocols import UNHASHED, Captioner, Unmeasured
from wmkit.caption import Caption
from wmkit.clip import Annotation
from wmkit.errors import ClipError, InputError
from wmkit.video.frames import ClipFile, FrameSource

__all__ = ["SidecarCaptionConfig", "named_captions"]

KEYS = ("caption", "prompt", "text")
NAMES = ("clip", "name", "file", "video", "key", "id")


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarCaptionConfig:
    """Captions from files; `path` of one file of all, None for one beside each clip; `sha256` of it, "" without."""

    path: str | None = field(default=None, metadata={UNHASHED: True})
    sha256: str = ""
    name: ClassVar[str] = "sidecar"
    licence: ClassVar[str] = "the captions' own"

    @property
    def reads_beside(self) -> bool:
        """Whether no file was named."""
        return self.path is None

    def beside(self, file: ClipFile) -> tuple[Path, ...]:
        """The texts beside a clip; the first that says something counts."""
        clip = Path(file.path)
        stem = clip if file.images else clip.with_suffix("")
        places = (stem.with_name(stem.name + ending) for ending in (".txt", ".json"))
        return tuple(place for place in places if place.is_file())

    def build(self, device: str) -> Captioner:
        """The captioner; `device` is not used."""
        return _Beside(self) if self.path is None else _Listed(self.path)


def named_captions(path: Path) -> SidecarCaptionConfig:
    """What `--captions FILE` means; InputError when it cannot be read."""
    path = path.absolute()
    _read(str(path))
    return SidecarCaptionConfig(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@dataclass(frozen=True, slots=True)
class _Beside:
    config: SidecarCaptionConfig

    def caption(self, annotation: Annotation, frames: FrameSource, file: ClipFile) -> Caption | Unmeasured:
        for beside in self.config.beside(file):
            try:
                text = beside.read_text(encoding="utf-8")
                found = text if beside.suffix == ".txt" else _text_in(json.loads(text))
                if found and found.strip():
                    return Caption.of(found, beside.name)
            except (OSError, ValueError, InputError) as error:
                line = " ".join(str(error).split())
                raise ClipError("caption", "sidecar_unreadable", f"{beside}: expected a caption, got {line}") from None
        return Unmeasured(reason="no_caption_beside_the_clip")


class _Listed:
    def __init__(self, path: str) -> None:
        self.source, self.texts = Path(path).name, _read(path)

    def caption(self, annotation: Annotation, frames: FrameSource, file: ClipFile) -> Caption | Unmeasured:
        for name in (file.clip_id, file.name, str(Path(file.name).with_suffix(""))):
            if self.texts.get(name, "").strip():
                return Caption.of(self.texts[name], self.source)
        return Unmeasured(reason="no_caption_in_the_file")


def _text_in(document: Any) -> str | None:
    """The text of a json value: itself, or what an object has under caption, prompt or text."""
    if isinstance(document, dict):
        document = next((document[key] for key in KEYS if isinstance(document.get(key), str)), None)
    return document if isinstance(document, str) else None


def _read(path: str) -> dict[str, str]:
    try:
        text = Path(path).read_text(encoding="utf-8")
        try:
            document = json.loads(text)
        except ValueError:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            document = {next(str(row[key]) for key in NAMES if key in row): row for row in rows}
        found = {str(name): _text_in(value) for name, value in document.items()}
    except (OSError, ValueError, AttributeError, TypeError, StopIteration) as error:
        got = error.strerror if isinstance(error, OSError) else "something else"
        raise InputError(
            f'--captions {path}: expected json {{"clip": "text"}}, or lines {{"clip": …, "caption": …}}, got {got}'
        ) from None
    empty = [name for name, words in found.items() if words is None]
    if empty:
        raise InputError(f"--captions {path}: expected a text for {empty[0]}, under {', '.join(KEYS)}")
    return {name: words for name, words in found.items() if words is not None}
