"""What a loader is asked for."""

from dataclasses import dataclass
from typing import Literal

from wmkit.errors import InputError

__all__ = ["SAMPLED_EVERY", "Integrity", "LoaderConfig", "Picture"]

Integrity = Literal["off", "sampled", "full"]
Picture = Literal["video", "latent", "both"]

SAMPLED_EVERY = 64  # draws


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderConfig:
    """A crop is `frames` posed frames, `stride` apart, covering and centre-cropped to `height` x `width` px.

    stride          frames of the sample from one of the crop to the next; 1: neighbours.
    batch_size      crops of one step, over all ranks.
    split           whose samples are drawn; None: those of the build's own split, never val.
    steps           where the stream ends, counted from the beginning of the run; None: it does not.
    epochs          it ends instead with the step in which every folder has been drawn from so many times over; a folder
                    that is smaller, or has more weight, has been drawn from more often by then.
    shuffle_block   samples that are neighbours on disk and are drawn near one another.
    shuffle_window  blocks that are shuffled together.
    integrity       whose XXH3 is checked: of every part read, of every 64th draw's, or none. What does not decode is
                    an error in any case.
    captions        read each sample's caption too.
    picture         frames, or the latents that `wmkit precompute` stored, or both. With latents, height, width and
                    stride are theirs, and a crop begins where a stored window does; see `wmkit.dataset.latents`.
    depth           give the depth of frames that have a map, from shards built with --depth.
    texts           read each caption's precomputed states too.
    skip_budget     damaged samples (distinct ones, by process) whose place their neighbour takes before it is an error.
    """

    frames: int
    height: int
    width: int
    batch_size: int
    seed: int = 0
    split: str | None = None
    stride: int = 1
    steps: int | None = None
    epochs: int | None = None
    shuffle_block: int = 64
    shuffle_window: int = 16
    integrity: Integrity = "full"
    captions: bool = False
    picture: Picture = "video"
    depth: bool = False
    texts: bool = False
    skip_budget: int = 0

    def __post_init__(self) -> None:
        for name in ("frames", "stride", "height", "width", "batch_size", "shuffle_block", "shuffle_window"):
            if getattr(self, name) < 1:
                raise InputError(f"loader {name}: expected at least 1, got {getattr(self, name)}")
        if self.epochs is not None and (self.epochs < 1 or self.steps is not None):
            raise InputError(f"loader epochs: expected at least 1 and no steps beside it, got {self.epochs}")
        for name, value in (("steps", self.steps or 0), ("skip_budget", self.skip_budget)):
            if value < 0:
                raise InputError(f"loader {name}: expected at least 0, got {value}")
        if self.integrity not in ("off", "sampled", "full"):
            raise InputError(f"loader integrity: expected off, sampled or full, got {self.integrity!r}")
        if self.picture not in ("video", "latent", "both"):
            raise InputError(f"loader picture: expected video, latent or both, got {self.picture!r}")

    def checks(self, draw: int) -> bool:
        """Whether the bytes of this draw are held against their XXH3."""
        return self.integrity == "full" or (self.integrity == "sampled" and draw % SAMPLED_EVERY == 0)
