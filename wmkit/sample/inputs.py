"""Everything a sample is made of, read and checked."""

from dataclasses import dataclass
from pathlib import Path

from wmkit.camera import Array
from wmkit.model.dit import CameraDiT
from wmkit.sample.picture import Picture
from wmkit.sample.request import AskedPath, SourceIntrinsics
from wmkit.train.checkpoint import DataFacts
from wmkit.train.config import TrainConfig

__all__ = ["Inputs"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """The model with its config and what it was trained on, the picture, the path at its final length.

    intrinsics  of the picture as given; rows (N, 4) fx fy cx cy px of every frame at the model's size.
    """

    checkpoint: Path
    model: CameraDiT
    config: TrainConfig
    facts: DataFacts
    picture: Picture
    path: AskedPath
    intrinsics: SourceIntrinsics
    rows: Array
