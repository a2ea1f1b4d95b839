"""What `--refiner PATH` names: a released refiner's folder, and what the sidecar says of it."""

import hashlib
from pathlib import Path
from typing import Any

from wmkit.errors import InputError
from wmkit.model.latent import LatentSpec
from wmkit.model.ltx2_refiner import load_ltx2_refiner
from wmkit.model.refiner import DROPPED_FRAMES, REFINE_SIGMAS, Refiner

__all__ = ["load_refiner", "refiner_record", "refiner_sha256"]

RELEASED = "model_index.json"  # what diffusers writes of a pipeline
WEIGHED = (".safetensors", ".json", ".model", ".txt", ".jinja")


def load_refiner(source: Path, latents: LatentSpec) -> Refiner:
    """The refiner at `source`, for latents such as those.

    Raises InputError where there is none, or where it is one of other latents.
    """
    if not (source / RELEASED).is_file():
        found = "a folder without one" if source.is_dir() else "no such folder"
        raise InputError(
            f"--refiner: expected {source} to be a folder with {RELEASED}, as diffusers writes a SanaWMLTX2Refiner, "
            f"found {found}; name one, or use --refiner none"
        )
    refiner = load_ltx2_refiner(source)
    if refiner.channels != latents.channels:
        raise InputError(
            f"--refiner {source}: expected a refiner of {latents.channels} latent channels, which the checkpoint has "
            f"({latents.name}), got one of {refiner.channels}; name one of its latents, or use --refiner none"
        )
    return refiner


def refiner_record(source: Path, refiner: Refiner) -> dict[str, Any]:
    """What the sidecar says of a refiner that was used."""
    return {
        "path": str(source),
        "sha256": refiner_sha256(source),
        "sigmas": list(REFINE_SIGMAS),
        "dropped_frames": DROPPED_FRAMES,
        "licence": refiner.licence,
    }


def refiner_sha256(source: Path) -> str:
    """Identity of a refiner's folder: of the names and bytes of every file that it is loaded from."""
    total = hashlib.sha256()
    for path in sorted(path for path in source.rglob("*") if path.suffix in WEIGHED and path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(source).as_posix()}\0{digest}\n".encode())
    return total.hexdigest()
