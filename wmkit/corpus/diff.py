"""Two corpora of the same clips, from two versions or two settings: what flipped, and by how much cameras differ."""

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wmkit.camera import ScaleKind
from wmkit.clip import Annotation
from wmkit.corpus.columns import LedgerColumns
from wmkit.corpus.ledger import Status
from wmkit.corpus.store import Corpus
from wmkit.errors import InputError
from wmkit.metrics import absolute_trajectory_error, align, common_frames, rotation_error

__all__ = ["ClipDelta", "CorpusDiff", "diff_corpora"]

WORST = 10  # named in the lines for people; JSON has all
QUANTILES = (50, 90, 99)
DELTAS = (("rotation_deg", "deg"), ("position", "of the path"), ("scale_ratio", ""), ("focal_ratio", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDelta:
    """One clip with a trajectory in both.

    rotation_deg  mean angle between the two, after the best common rotation.
    position      root mean square distance after the best similarity, as a share of the first one's path.
    scale_ratio   how many times as large the second one is; None unless both are in metres.
    focal_ratio   the second's median focal length over the first's.
    posed         frames with a pose in the first and in the second.
    problem       why the two cannot be compared, "" when they can; the numbers are None then.
    """

    clip_id: str
    source: str
    rotation_deg: float | None = None
    position: float | None = None
    scale_ratio: float | None = None
    focal_ratio: float | None = None
    posed: tuple[int, int] = (0, 0)
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusDiff:
    """clips = same + flipped + the sum of changed and incomparable ones; clips of one corpus alone are apart.

    only_a, only_b  clips that the other has no row of.
    flips           "ok -> no_trajectory:static" -> clips, and the clips of each.
    same            clips whose outcome is the same and whose trajectory.npz is the same, byte for byte.
    deltas          clips with a trajectory in both that is another.
    """

    a: str
    b: str
    only_a: int
    only_b: int
    clips: int
    same: int
    flips: dict[str, list[str]]
    deltas: tuple[ClipDelta, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Counts, quantiles and the worst clips, for people."""
        flipped = sum(len(names) for names in self.flips.values())
        lines = [
            f"{self.clips} clips in both; only in {self.a}: {self.only_a}, only in {self.b}: {self.only_b}",
            f"{self.same} the same, {flipped} flipped, {len(self.deltas)} with another trajectory",
        ]
        for flip, names in sorted(self.flips.items(), key=lambda item: (-len(item[1]), item[0])):
            lines.append(f"{len(names):>7} {flip}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}")
        for word, unit in DELTAS:
            found = np.array([value for delta in self.deltas if (value := getattr(delta, word)) is not None])
            if len(found):
                told = ", ".join(f"p{q} {np.percentile(found, q):.4g}" for q in QUANTILES)
                lines.append(f"{word}: {told} {unit}".rstrip() + f" ({len(found)} clips)")
        worst = sorted(self.deltas, key=lambda delta: -(delta.rotation_deg or 0.0) - 100 * (delta.position or 0.0))
        for delta in worst[:WORST]:
            lines.append(f"{delta.source}: {_told(delta)}")
        return lines


def diff_corpora(a: Path, b: Path) -> CorpusDiff:
    """Compare by clip id, which is a hash of the content. InputError when either is no corpus or they share no clip."""
    one, other = Corpus.open(a), Corpus.open(b)
    left, right = one.columns(), other.columns()
    fates = [
        dict(zip(rows.words("clip_id"), zip(rows.words("source"), _fates(rows), strict=True), strict=True))
        for rows in (left, right)
    ]
    both = sorted(fates[0].keys() & fates[1].keys())
    if not both:
        raise InputError(f"diff: expected corpora of the same clips, {a} and {b} share none")
    flips: dict[str, list[str]] = {}
    deltas, same = [], 0
    for clip_id in both:
        (source, before), (_, after) = fates[0][clip_id], fates[1][clip_id]
        if before != after:
            flips.setdefault(f"{before} -> {after}", []).append(source)
        elif before != Status.OK or _same_file(one.folder(clip_id), other.folder(clip_id)):
            same += 1
        else:
            deltas.append(_delta(clip_id, source, one, other))
    return CorpusDiff(
        a=str(a),
        b=str(b),
        only_a=len(fates[0]) - len(both),
        only_b=len(fates[1]) - len(both),
        clips=len(both),
        same=same,
        flips=flips,
        deltas=tuple(deltas),
    )


def _numbers(before: Annotation, after: Annotation) -> dict[str, float | None]:
    """The comparable numbers of two trajectories of the same frames; InputError when they are not of the same."""
    one, other = before.trajectory, after.trajectory
    if one is None or other is None:
        raise InputError("expected two trajectories")
    turned_deg = rotation_error(other, one).value
    both = common_frames(one, other, at_least=3)
    path = float(np.linalg.norm(np.diff(one.position[both], axis=0), axis=1).sum())
    metric = one.scale is other.scale is ScaleKind.METRIC
    focal = [float(np.median(item.intrinsics_rows[both, 0])) for item in (before, after)]
    return {
        "rotation_deg": turned_deg,
        "position": absolute_trajectory_error(other, one, with_scale=True).value / path,
        "scale_ratio": align(one.position[both], other.position[both], with_scale=True).scale if metric else None,
        "focal_ratio": focal[1] / focal[0],
    }


def _told(delta: ClipDelta) -> str:
    if delta.problem:
        return delta.problem
    numbers = [f"rotation {delta.rotation_deg:.3g} deg", f"position {100 * (delta.position or 0.0):.3g} %"]
    if delta.scale_ratio is not None:
        numbers.append(f"scale x {delta.scale_ratio:.4g}")
    return ", ".join([*numbers, f"focal x {delta.focal_ratio:.4g}", f"posed {delta.posed[0]} -> {delta.posed[1]}"])


def _fates(rows: LedgerColumns) -> list[str]:
    """`ok`, or outcome and reason, of every clip."""
    return [
        status if status == Status.OK else f"{status}:{stage + '/' if status == Status.FAILED else ''}{code}"
        for status, stage, code in zip(rows.words("status"), rows.words("stage"), rows.words("code"), strict=True)
    ]


def _same_file(one: Path, other: Path) -> bool:
    try:
        return (one / "trajectory.npz").read_bytes() == (other / "trajectory.npz").read_bytes()
    except OSError:
        return False


def _delta(clip_id: str, source: str, one: Corpus, other: Corpus) -> ClipDelta:
    try:
        before, after = one.read(clip_id), other.read(clip_id)
    except InputError as error:
        return ClipDelta(clip_id=clip_id, source=source, problem=str(error))
    if before.trajectory is None or after.trajectory is None:
        return ClipDelta(clip_id=clip_id, source=source, problem="the ledger tells of a trajectory that is not there")
    posed = int(before.trajectory.posed.sum()), int(after.trajectory.posed.sum())
    plain = ClipDelta(clip_id=clip_id, source=source, posed=posed)
    try:
        return dataclasses.replace(plain, **_numbers(before, after))
    except InputError as error:
        return dataclasses.replace(plain, problem=str(error))
