"""Everything a sample is made of, read and checked."""

from dataclasses import dataclass

from wmkit.camera import Array
from wmkit.sample.parts import Parts
from wmkit.sample.picture import Picture
from wmkit.sample.request import AskedPath, SourceIntrinsics

__all__ = ["Inputs"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """The models, the picture, the path at its final length.

    intrinsics  of the picture as given; rows (N, 4) fx fy cx cy px of every frame at the model's size.
    """

    parts: Parts
    picture: Picture
    path: AskedPath
    intrinsics: SourceIntrinsics
    rows: Array
