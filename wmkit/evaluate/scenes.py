"""The scenes of a folder shaped as SANA-WM-Bench: what is to be sampled, and what samples are judged by.

DIR/run_manifest.jsonl   a row a scene: id, image_path, camera_path, prompt; paths relative to DIR
camera_path              .npz of c2w (N, 4, 4), intrinsics (N, 3, 3) px of the image, fps
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wmkit.errors import InputError

__all__ = ["BenchScene", "read_scenes"]

MANIFEST = "run_manifest.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchScene:
    """One row of a manifest, its camera file found; `image` and `prompt` are None where the row has none."""

    id: str
    cameras: Path
    image: Path | None = None
    prompt: str | None = None


def read_scenes(folder: Path) -> tuple[BenchScene, ...]:
    """Scenes of a benchmark folder; InputError naming the line that is none, an id twice, or a file that is missing."""
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"--benchmark: expected {path} with a row a scene, got: {why}; name another folder") from error
    scenes: dict[str, BenchScene] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            scene = _scene(folder, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"found no {error}" if isinstance(error, KeyError) else f"got: {error}"
            raise InputError(f"{path}:{number}: expected an object with id and camera_path, {why}") from error
        if scene.id in scenes or "/" in scene.id or scene.id in ("", ".", ".."):
            raise InputError(f"{path}:{number}: expected an id of its own without slashes, got {scene.id!r}")
        if not scene.cameras.is_file():
            raise InputError(
                f"{path}:{number}: expected a camera file at {scene.cameras}, found none; is the folder whole?"
            )
        scenes[scene.id] = scene
    if not scenes:
        raise InputError(f"{path}: expected at least one scene, got none")
    return tuple(scenes.values())


def _scene(folder: Path, row: Any) -> BenchScene:
    image, prompt = row.get("image_path"), row.get("prompt")
    return BenchScene(
        id=str(row["id"]),
        cameras=folder / row["camera_path"],
        image=None if image is None else folder / image,
        prompt=None if prompt is None else str(prompt),
    )
