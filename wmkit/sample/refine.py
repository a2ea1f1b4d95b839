"""What `--refiner PATH` names: a released refiner's folder or a run of our own; and what the sidecar says of it."""

from pathlib import Path
from typing import Any

from wmkit.errors import InputError
from wmkit.hashes import hash_of_named_files
from wmkit.model.latent import LatentSpec
from wmkit.model.ltx2_refiner import Ltx2Refiner, load_ltx2_refiner
from wmkit.model.placement import Placement
from wmkit.model.refiner import DROPPED_FRAMES, REFINE_SIGMAS, DitRefiner, Refiner
from wmkit.train.checkpoint import LATEST, MODEL_NAME, load_model, start_weights

__all__ = ["load_refiner", "refiner_record", "refiner_sha256"]

RELEASED = "model_index.json"  # what diffusers writes of a pipeline
WEIGHED = (".safetensors", ".json", ".model", ".txt", ".jinja")


def load_refiner(source: Path, latents: LatentSpec, place: Placement) -> DitRefiner | Ltx2Refiner:
    """The refiner at `source`, for latents such as those, to work at `place`; on the CPU so far.

    Raises InputError where there is none, or where it is one of other latents; as `load_model` does for a run.
    """
    released = (source / RELEASED).is_file()
    refiner = load_ltx2_refiner(source, place=place) if released else _trained(source, place)
    if refiner.channels != latents.channels:
        raise InputError(
            f"--refiner {source}: expected a refiner of {latents.channels} latent channels, which the checkpoint has "
            f"({latents.name}), got one of {refiner.channels}; name one of its latents, or use --refiner none"
        )
    return refiner


def _trained(source: Path, place: Placement) -> DitRefiner:
    """The refiner that a run of `wmkit train` made."""
    if not ((source / LATEST).is_file() or (source / MODEL_NAME).is_file()):
        found = "a folder without either" if source.is_dir() else "no such folder"
        raise InputError(
            f"--refiner: expected {source} to be a folder with {RELEASED}, as diffusers writes a SanaWMLTX2Refiner, or "
            f"a run of a refiner's recipe, found {found}; name one, or use --refiner none"
        )
    model, config = load_model(source)
    if config.refine is None:
        raise InputError(
            f"--refiner {source}: expected a run of a refiner's recipe, such as tiny-cpu-refiner, got one of "
            f"{config.recipe}; name another, or use --refiner none"
        )
    if config.refine.sigma_start != REFINE_SIGMAS[0]:
        raise InputError(
            f"--refiner {source}: expected one trained from noise level {REFINE_SIGMAS[0]}, got one from "
            f"{config.refine.sigma_start}; name another, or use --refiner none"
        )
    model = place.rounded(model)
    licence = "that of the data it was trained on"
    return DitRefiner(model=model, text=config.text_encoder, licence=licence, place=place)


def refiner_record(source: Path, refiner: Refiner, sha256: str | None) -> dict[str, Any]:
    """What the sidecar says of a refiner that was used; `sha256` as of `refiner_sha256`."""
    return {
        "path": str(source),
        "sha256": sha256,
        "sigmas": list(REFINE_SIGMAS),
        "dropped_frames": DROPPED_FRAMES,
        "licence": refiner.licence,
    }


def refiner_sha256(source: Path) -> str:
    """Identity of a refiner: of its run's weights, or of the names and bytes of every file of its folder."""
    if not (source / RELEASED).is_file():
        return start_weights(source)[1]
    files = sorted(path for path in source.rglob("*") if path.suffix in WEIGHED and path.is_file())
    return hash_of_named_files((path.relative_to(source).as_posix(), path) for path in files)
