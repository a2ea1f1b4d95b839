"""Decode an annotated clip again: the recorded source, if its bytes and frames are still those of the annotation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wmkit.clip import Annotation
from wmkit.corpus.ledger import SourceRow
from wmkit.errors import ClipError, ConfigError, InputError
from wmkit.video import ClipFile, DecodeLimits, FrameSource, VideoConfig, discover, identify, open_view
from wmkit.video.reference import is_url, split_reference
from wmkit.video.remote import pinned_copy

__all__ = ["SourceGone", "reopen_source", "video_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGone:
    """The source no longer gives the annotated frames: `reason` is a stable phrase, `detail` names the path."""

    reason: str
    detail: str


def video_config(config: Mapping[str, Any]) -> VideoConfig:
    """The `VideoConfig` in a corpus's config; ConfigError when it holds none of this version's."""
    try:
        video = {name: value for name, value in config["video"].items() if name != "class"}
        limits = {name: value for name, value in video.pop("limits").items() if name != "class"}
        return VideoConfig(**video, limits=DecodeLimits(**limits))
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"corpus config: expected how its frames were decoded under 'video', got: {error}") from error


def reopen_source(row: SourceRow, annotation: Annotation, config: Mapping[str, Any]) -> FrameSource | SourceGone:
    """The frames that `annotation` tells of, undistorted if they were; or why there are none: the source is missing,
    holds other bytes, no longer decodes, or gives other frames (size or pts, as after a run with another `--fps`).
    """
    video = video_config(config)
    try:
        if is_url(row.path):
            return open_view(_remote_copy(row, annotation.provenance.input_hash), video, annotation.view)
        found = [clip for clip in discover([row.path]).clips if clip.path == row.path]
        if not found:
            return SourceGone(reason="source is no clip any more", detail=row.path)
        file = identify(found[0])
        if file.content_hash != annotation.provenance.input_hash:
            return SourceGone(reason="source has changed since it was annotated", detail=row.path)
        return open_view(file, video, annotation.view)
    except (InputError, ClipError) as error:
        if isinstance(error, ClipError) and error.code == "source_changed":
            return SourceGone(reason="source has changed since it was annotated", detail=row.path)
        if isinstance(error, ClipError) and error.code == "other_frames":
            return SourceGone(reason="source gives other frames than were annotated", detail=row.path)
        return SourceGone(reason="source cannot be read", detail=str(error))


def _remote_copy(row: SourceRow, content_hash: str) -> ClipFile:
    """A remote source on this machine: from the cache, which knows it by its bytes, before anybody is asked."""
    location, span_s = split_reference(row.path)
    file = ClipFile(
        path=location, name=row.name, content_hash=content_hash, clip_id=row.clip_id, span_s=span_s, given=row.given
    )
    return pinned_copy(file)
