"""Where windows lie in one world: chained along their ties, and balanced where the ties close loops."""

from dataclasses import dataclass

import numpy as np

from wmkit.annotate.pose.seams import Seam, Similarity
from wmkit.camera import Array

__all__ = ["Edge", "placed"]

STEPS = 20  # nearly linear: a chain's drift is small against the turns it makes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edge:
    """A tie between windows number a and b.

    a_from_b  the similarity it says there is.
    seam      how well that fits where the two meet.
    unit      depth there, in a's unit: what makes shifts comparable to angles.
    """

    a: int
    b: int
    a_from_b: Similarity
    seam: Seam
    unit: float


def placed(weights: list[int], edges: list[Edge]) -> list[Similarity | None]:
    """world_from_window of the connected windows whose weights add up to most, the first of them the world; else None.

    Ties beyond a tree are contradictions by what the windows drifted: they are spread over all ties, least squares.
    """
    part = np.arange(len(weights))
    for edge in edges:
        part[part == part[edge.b]] = part[edge.a]
    total = [sum(weight for weight, of in zip(weights, part, strict=True) if of == label) for label in part]
    label = part[int(np.argmax(total))]
    members = np.flatnonzero(part == label).tolist()
    own = [edge for edge in edges if part[edge.a] == label]
    found: dict[int, Similarity] = {members[0]: Similarity(rotation=np.eye(3), shift=np.zeros(3))}
    while len(found) < len(members):
        for edge in own:
            if edge.a in found and edge.b not in found:
                found[edge.b] = found[edge.a].after(edge.a_from_b)
            elif edge.b in found and edge.a not in found:
                found[edge.a] = found[edge.b].after(edge.a_from_b.inverse())
    if len(own) >= len(members):
        found = _balanced(found, own)
    return [found.get(k) for k in range(len(weights))]


def _balanced(start: dict[int, Similarity], edges: list[Edge]) -> dict[int, Similarity]:
    from scipy.optimize import least_squares

    first, *others = sorted(start)
    slot = {k: 7 * at for at, k in enumerate(others)}

    def moved(step: Array) -> dict[int, Similarity]:
        return {k: start[k] if k == first else start[k].after(_exp(step[slot[k] : slot[k] + 7])) for k in start}

    def residual(step: Array) -> Array:
        now = moved(step)
        return np.concatenate([_off(now[edge.a], now[edge.b], edge) for edge in edges])

    unit = float(np.median([edge.unit for edge in edges]))
    scale = np.tile([1.0, 1.0, 1.0, 1.0, unit, unit, unit], len(others))
    found = least_squares(residual, np.zeros(7 * len(others)), x_scale=scale, max_nfev=STEPS)
    return moved(found.x)


def _off(a: Similarity, b: Similarity, edge: Edge) -> Array:
    """(7,) rotation vector, log scale and shift, in units of depth, by which a and b miss their tie."""
    gap = edge.a_from_b.inverse().after(a.inverse().after(b))  # identity in b's coordinates
    shift = gap.shift * edge.a_from_b.scale / edge.unit
    return np.concatenate([_rotation_vector(gap.rotation), [np.log(gap.scale)], shift])


def _exp(step: Array) -> Similarity:
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_rotvec(step[:3]).as_matrix()
    return Similarity(scale=float(np.exp(step[3])), rotation=rotation, shift=step[4:])


def _rotation_vector(rotation: Array) -> Array:
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotation).as_rotvec()
