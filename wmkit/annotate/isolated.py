"""Annotate a clip's pixels alone: a benchmark or an evaluation must not see what it is judged by.

The clip's own files are copied into an otherwise empty folder under a name that says nothing, and the annotator is
given that copy: whatever else lies beside the clip cannot reach it.
"""

import dataclasses
import shutil
from pathlib import Path

from wmkit.annotate.defaults import default_config
from wmkit.annotate.pipeline import AnnotateConfig, AnnotateResult, annotate_clip
from wmkit.errors import ClipError
from wmkit.video import ClipFile, FoundClip, VideoConfig, identify

__all__ = ["annotate_pixels", "camera_config", "copy_pixels"]


def camera_config() -> AnnotateConfig:
    """The default annotator at the native rate; no depth and no filters, which no pose depends on."""
    config = default_config(video=VideoConfig(fps=None), depth=None)
    return dataclasses.replace(config, footage_filters=(), trajectory_filters=())


def copy_pixels(clip: FoundClip, folder: Path) -> ClipFile:
    """A copy of the clip's own files in `folder`, which must be empty; ClipError when they cannot be read."""
    source = Path(clip.path)
    copy = folder / f"clip{'' if clip.images else source.suffix}"
    try:
        if clip.images:
            copy.mkdir()
        for name in clip.images or ("",):
            shutil.copyfile(source / name if name else source, copy / name if name else copy)
    except OSError as error:
        raise ClipError("discover", "unreadable", f"{clip.name}: expected readable files, got {error}") from error
    return identify(dataclasses.replace(clip, path=str(copy)))


def annotate_pixels(clip: FoundClip, config: AnnotateConfig, folder: Path) -> tuple[ClipFile, AnnotateResult]:
    """Annotate a copy of the clip's own files in `folder`, which must be empty; also the copy, to open it again.

    Raises ClipError as `annotate_clip` does.
    """
    file = copy_pixels(clip, folder)
    return file, annotate_clip(file, config)
