"""What `wmkit sample` is asked for, and the same from a sidecar that it wrote."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wmkit.errors import InputError
from wmkit.model.placement import Offload, Placement, Precision

__all__ = ["DEFAULT_TRAJECTORY", "FILES", "SAMPLERS", "SampleOptions", "SamplerName"]

DEFAULT_TRAJECTORY = "w-10,dw-6"  # 17 poses: what tiny-cpu is trained on
SAMPLERS = ("euler", "chunk", "stream")
DEVICES = ("cpu", "cuda")
SamplerName = Literal["euler", "chunk", "stream"]
PATHS = ("checkpoint", "image", "intrinsics", "refiner")
FILES = (
    *PATHS,
    "trajectory",
    "vae",
    "text",
)  # options that may name files, which count by their bytes and not by where they lie
UNRECORDED = frozenset({"out", "keys_overlay", "offload", "memory_gib"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions:
    """What to make.

    checkpoint    run folder (its latest checkpoint) or checkpoint folder.
    image         the first frame; None: the bundled picture, a rendered room of 60 degrees horizontal field of view.
    trajectory    file, template (`simple/orbit`) or action string.
    convention    of a file of bare poses; see `wmkit.formats.convention`.
    action_map    what keys mean; see `wmkit.camera_actions`.
    seconds       length of the video: a longer path is cut, a shorter one held at its last pose. None: the path's own.
    exact_length  refuse to hold: the path must be long enough, and as long as the model's stride asks.
    intrinsics    file, in px of the picture as given; or `fov_deg`, horizontal; or neither: EXIF, else 60 degrees.
    prompt        what is to be seen; None: an empty one, where the model takes text.
    guidance      of classifier-free guidance by text; 1 is none.
    sampler       None: as the model was trained, euler or chunk.
    steps         Euler steps; of each chunk where there are chunks.
    refiner       folder of a second stage, see `wmkit.sample.refine`; None: there is none.
    vae, text     `ltx2=FOLDER`, `gemma-2=FOLDER`: what the checkpoint's latents and captions were made by, where it
                  was trained on those alone; see `wmkit.train.encoders`. None: it needs none.
    device        of torch, cpu or cuda; offload, precision: see `wmkit.model.placement`.
    memory_gib    what the device has for it; None: what is free on a GPU, and no limit on a CPU.
    keys_overlay  write X.keys.mp4 too, with the keys drawn that are held: no part of what the sample is.
    """

    checkpoint: Path = Path("run")
    image: Path | None = None
    trajectory: str = DEFAULT_TRAJECTORY
    convention: str = "as-format"
    action_map: str = "sana-v2"
    seconds: float | None = None
    exact_length: bool = False
    intrinsics: Path | None = None
    fov_deg: float | None = None
    prompt: str | None = None
    guidance: float = 1.0
    sampler: SamplerName | None = None
    out: Path = Path("sample.mp4")
    steps: int = 20
    seed: int = 0
    refiner: Path | None = None
    vae: str | None = None
    text: str | None = None
    device: str = "cpu"
    offload: Offload = "none"
    precision: Precision = "float32"
    memory_gib: float | None = None
    keys_overlay: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"--steps: expected at least 1, got {self.steps}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed: expected a number of at least 0, got {self.seed}")
        if self.out.suffix.lower() != ".mp4":
            raise InputError(f"--out: expected a name ending in .mp4, got {self.out}")
        if self.seconds is not None and not 0 < self.seconds < 1e5:
            raise InputError(f"--seconds: expected a positive number below 100,000, got {self.seconds:g}")
        if not 0 <= self.guidance < 1e3:
            raise InputError(f"--guidance: expected a number of at least 0, got {self.guidance:g}")
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise InputError(f"--sampler: expected one of {', '.join(SAMPLERS)}, got {self.sampler!r}")
        if self.refiner is not None and self.sampler == "stream":
            raise InputError("--refiner: expected --sampler euler or chunk, got stream; its chunks are shown unrefined")
        if self.memory_gib is not None and not self.memory_gib > 0:
            raise InputError(f"--memory: expected a positive number of GiB, got {self.memory_gib:g}")
        if self.device not in DEVICES:
            raise InputError(f"--device: expected one of {', '.join(DEVICES)}, got {self.device!r}")
        _ = self.place  # says what is wrong with it

    @property
    def place(self) -> Placement:
        """Where and how models work; raises as it does."""
        return Placement(device=self.device, offload=self.offload, precision=self.precision)

    def to_record(self) -> dict[str, Any]:
        """Plain JSON values of everything that decides the video's bytes."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in UNRECORDED]
        plain = {name: getattr(self, name) for name in names}
        return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}

    @classmethod
    def from_record(cls, plain: Mapping[str, Any], out: Path, offload: Offload = "none") -> "SampleOptions":
        """The options that `to_record` gave, for another `out` and `offload`; InputError when they are none."""
        known = {field.name for field in dataclasses.fields(cls)} - UNRECORDED
        if set(plain) != known:
            odd = sorted(set(plain) ^ known)[0]
            raise InputError(
                f"--repeat: expected the options of this version, {odd!r} differs; use the wmkit named in it"
            )
        values: dict[str, Any] = dict(plain)
        for name in PATHS:
            values[name] = None if plain[name] is None else Path(plain[name])
        try:
            return cls(**values, out=out, offload=offload)
        except TypeError as error:
            raise InputError(f"--repeat: expected the options of a sample, got: {error}") from error
